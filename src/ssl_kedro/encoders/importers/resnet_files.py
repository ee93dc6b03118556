"""ResNet-50 and ResNet-101 from the files of PyTorch projects.

All of them hold torchvision's names, under a prefix of their own and beside other things.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ssl_kedro.encoders.importers.report import Selection, fault
from ssl_kedro.encoders.importers.torch_file import entry, read_torch, tensors_of

Reader = Callable[[Path], Selection]
_CLASSIFIER = "the classifier, which is no part of the encoder"


def read_torchvision(path: Path) -> Selection:
    """A state dict of torchvision, whose ``fc`` is dropped."""
    return _selected(tensors_of(read_torch(path), path), ("",), {"fc.": _CLASSIFIER}, path)


def read_moco(path: Path) -> Selection:
    """MoCo v1 and v2: the query encoder, less its projection ``fc``.

    v1 has fc.weight and fc.bias, v2 fc.0 and fc.2; neither less nor other keys may be dropped.
    """
    tensors = tensors_of(entry(read_torch(path), "state_dict", path), path)
    prefix = "module.encoder_q."
    reasons = {
        f"{prefix}fc.": "the projection head, which is no part of the encoder",
        "module.encoder_k.": "the key encoder, a running average of the query encoder",
        "module.queue": "the queue of negatives",
    }
    selection = _selected(tensors, (prefix,), reasons, path)
    heads = ({"fc.weight", "fc.bias"}, {f"fc.{i}.{n}" for i in (0, 2) for n in ("weight", "bias")})
    found = {k.removeprefix(prefix) for k in selection.dropped if k.startswith(f"{prefix}fc.")}
    if found not in heads:
        raise fault(
            path,
            f"the projection head {sorted(found)}",
            "fc.weight and fc.bias (v1), or fc.0.* and fc.2.* (v2)",
            "check that the file is a pre-training checkpoint of MoCo, not of a linear classifier",
        )
    return selection


def read_solo_learn(path: Path) -> Selection:
    """A Lightning checkpoint of solo-learn: ``backbone.``, or ``encoder.`` in older ones."""
    content = read_torch(path, foreign_objects=True)
    tensors = tensors_of(entry(content, "state_dict", path), path)
    prefixes = ("backbone.", "encoder.")
    prefix = next((p for p in prefixes if any(k.startswith(p) for k in tensors)), None)
    if prefix is None:
        raise fault(
            path,
            f"keys such as {next(iter(tensors))!r}",
            "keys that begin with backbone. or encoder.",
            "check the kind of the file",
        )
    if f"{prefix}layer1.0.conv1.weight" in tensors and (
        f"{prefix}layer1.0.conv3.weight" not in tensors
    ):
        raise fault(
            path,
            "a ResNet of basic blocks (ResNet-18 or 34)",
            "a ResNet-50, the only one of solo-learn's networks that can be imported",
            "take a checkpoint that was trained with backbone resnet50",
        )
    reasons = {f"{prefix}fc.": _CLASSIFIER}
    reasons |= {
        key: "not of the encoder (heads, momentum encoder)"
        for key in tensors
        if not key.startswith(prefix)
    }
    return _selected(tensors, (prefix,), reasons, path)


def read_backbone(path: Path) -> Selection:
    """VICReg and Barlow Twins: a state dict without ``fc``, or a whole training checkpoint.

    The latter is ``{"model": {"module.backbone.conv1.weight": ...}}``.
    """
    content = read_torch(path)
    if not (isinstance(content, dict) and isinstance(content.get("model"), dict)):
        return _selected(tensors_of(content, path), ("",), {"fc.": _CLASSIFIER}, path)
    tensors = tensors_of(content["model"], path)
    reasons = {
        start + name: reason
        for start in ("module.", "")
        for name, reason in (
            ("projector.", "the projector, which is no part of the encoder"),
            ("bn.", "the normalisation of the loss"),
            ("backbone.fc.", _CLASSIFIER),
        )
    }
    return _selected(tensors, ("module.backbone.", "backbone."), reasons, path)


def read_gem_ap(path: Path) -> Selection:
    """Deep image retrieval (Revaud et al. 2019): the encoder, the pooling's p, the whitening.

    ``adpool.p`` becomes the note "gem_p", ``fc`` the extras "whitening.weight" and
    "whitening.bias": y = W x + b after pooling. Objects of scikit-learn under "pca" are not read.
    """
    content = read_torch(path, foreign_objects=True)
    tensors = tensors_of(entry(content, "state_dict", path), path)
    plain = {key.removeprefix("module."): value for key, value in tensors.items()}
    notes: dict[str, Any] = {}
    if "adpool.p" in plain and plain["adpool.p"].numel() == 1:
        notes["gem_p"] = float(plain["adpool.p"])
    extras = {
        f"whitening.{name}": plain[f"fc.{name}"]
        for name in ("weight", "bias")
        if f"fc.{name}" in plain
    }
    reasons = {
        start + name: reason
        for start in ("module.", "")
        for name, reason in (
            ("fc.", "the learnt whitening, kept apart"),
            ("adpool.p", "the exponent of the pooling, kept as gem_p"),
        )
    }
    selection = _selected(tensors, ("module.", ""), reasons, path)
    others = {
        str(key): "not of the network; not read"
        for key in content
        if str(key) not in ("state_dict",)
    }
    return Selection(
        selection.tensors, selection.sources, {**selection.dropped, **others}, notes, extras
    )


def _selected(
    tensors: Mapping[str, Tensor],
    prefixes: tuple[str, ...],
    reasons: Mapping[str, str],
    path: Path,
) -> Selection:
    """Tensors under the first prefix that fits each name, less those with a reason to drop.

    Args:
        tensors: of the file.
        prefixes: to be taken off; names without any keep their own and match nothing.
        reasons: beginning of a name in the file -> why it is dropped.
        path: for messages.
    """
    chosen: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    dropped: dict[str, str] = {}
    for key, value in tensors.items():
        reason = reasons.get(key) or next(
            (why for start, why in reasons.items() if key.startswith(start)), None
        )
        if reason is not None:
            dropped[key] = reason
            continue
        prefix = next((p for p in prefixes if key.startswith(p)), "")
        name = key.removeprefix(prefix)
        if name in chosen:
            raise fault(
                path, f"{name} twice, as {sources[name]} and {key}", "once", "check the file"
            )
        chosen[name], sources[name] = value, key
    return Selection(chosen, sources, dropped)
