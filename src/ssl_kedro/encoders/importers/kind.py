"""What is to be said of a kind of weight file, and what becomes of a file's keys."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet, MaxPool
from ssl_kedro.encoders.bundled import Bundled
from ssl_kedro.encoders.maps import IMAGENET_MEAN, IMAGENET_STD, MapNetwork

IMAGENET = "ImageNet mean (0.485, 0.456, 0.406) and deviation (0.229, 0.224, 0.225)"
# By what an encoder was trained; "" = nobody says.
Trained = Literal["self-supervised", "supervised", "fine-tuned", "untrained", ""]
CLASSIFIER = "the classifier, which is no part of the encoder"
CHECK_KIND = "check the kind of the file"
_SHOWN = 10
# Of a network, but of no file.
_STATISTICS = ("pixel_mean", "pixel_std")


class WeightsError(InputError):
    """A weight file that is missing, damaged, unsafe, or not what its kind says.

    Cause: the path is wrong, ``kind`` names another publisher's layout, or the file holds code.
    Remedy: fetch the file that docs/weights.md names for this kind, or correct ``kind``.

    ``report`` has the keys, where the file could be read that far.
    """

    report: "KeyReport | None" = None


@dataclass(frozen=True)
class Selection:
    """Tensors chosen from a file.

    Args:
        tensors: name in the network -> value.
        sources: name in the network -> name in the file.
        dropped: name in the file -> why it is not used.
        notes: other values of the file worth keeping, e.g. "gem_p".
        extras: tensors kept apart from the network, e.g. "classifier.weight".
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class KeyReport:
    """Where each tensor of a file went.

    Args:
        kind: as in ``importers.KINDS``.
        publisher: who gives the file out.
        hosted: where.
        files: SHA-256 of every file that was read, by name.
        used: name in the file -> name in the network.
        dropped: see :class:`Selection`.
        missing: names in the network that the file lacks.
        unexpected: names in the file that the network lacks.
        wrong_shapes: name in the network -> (shape in the file, shape needed).
        notes: see :class:`Selection`.
        extras: see :class:`Selection`.
    """

    kind: str
    publisher: str
    hosted: str
    files: Mapping[str, str]
    used: Mapping[str, str]
    dropped: Mapping[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    notes: Mapping[str, Any]
    extras: Mapping[str, Tensor] = field(repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """All but the extras' values, of a file that fits, in plain types."""
        names = ("kind", "publisher", "hosted", "files", "notes", "extras", "used", "dropped")
        return {name: getattr(self, name) for name in names} | {"extras": sorted(self.extras)}


def resnet(
    depth: Literal[50, 101] = 50,
    *,
    max_pool: MaxPool = "symmetric",
    width: int | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Callable[[Selection, Path], MapNetwork]:
    """Builder of a ResNet as wide as the file's first convolution.

    Args:
        depth: 50 or 101.
        max_pool: see :class:`BottleneckConfig`.
        width: the only one allowed; None = any.
        mean: of pixels.
        std: of pixels.
    """

    def build(selection: Selection, path: Path) -> MapNetwork:
        stem = selection.tensors.get("conv1.weight")
        if stem is None or stem.ndim != 4 or not 1 <= stem.shape[0] <= 1024:
            key = next(iter(selection.sources.values()), None)
            found = f"keys such as {key!r}, without a first convolution conv1.weight"
            raise WeightsError(path, found, f"a ResNet-{depth}", CHECK_KIND)
        if width not in (None, stem.shape[0]):
            found = f"{stem.shape[0]} channels after the first convolution"
            remedy = f"{CHECK_KIND}: one of another width has another kind"
            raise WeightsError(path, found, f"{width}", remedy)
        config = BottleneckConfig(depth, int(stem.shape[0]), max_pool)
        return BottleneckResNet(config, pixel_mean=mean, pixel_std=std)

    return build


_RESNET_50 = resnet()


@dataclass(frozen=True)
class Kind:
    """One publisher's kind of file.

    Args:
        publisher: who trained it.
        file: as the publisher calls it.
        hosted: the publisher's page or address.
        read: file -> tensors under the network's names.
        network: tensors -> a network of their shape, still without them; ResNet-50 if not said.
        normalisation: of pixels, in words.
        row: in Tables 3.1-3.4 of the thesis; "" where it has none.
        trained: without labels, with labels, or for retrieval itself.
        sources: path that the user gives -> files that are read.
    """

    publisher: str
    file: str
    hosted: str
    read: Callable[[Path], Selection]
    network: Callable[[Selection, Path], MapNetwork] = _RESNET_50
    normalisation: str = IMAGENET
    row: str = ""
    trained: Trained = "self-supervised"
    sources: Callable[[Path], Sequence[Path]] = lambda path: (path,)


def selected(
    tensors: Mapping[str, Tensor], prefix: str, reasons: Mapping[str, str], path: Path
) -> Selection:
    """A file's tensors under the network's names, less those with a reason to drop.

    Args:
        tensors: of the file.
        prefix: regular expression of what is taken off the beginning of a name; names that do
            not begin so keep their own and match nothing.
        reasons: regular expression of the beginning of a name in the file -> why it is dropped.
        path: for messages.
    """
    found = Selection()
    for key, value in tensors.items():
        reason = next((why for start, why in reasons.items() if re.match(start, key)), None)
        if reason is not None:
            found.dropped[key] = reason
            continue
        name = re.sub(f"^(?:{prefix})", "", key)
        if name in found.tensors:
            twice = f"{name} twice, as {found.sources[name]} and {key}"
            raise WeightsError(path, twice, "once", "check the file")
        found.tensors[name], found.sources[name] = value, key
    return found


def rename(selection: Selection, named: Callable[[str], str], path: Path) -> None:
    """Give a selection's tensors other names.

    Args:
        selection: changed in place.
        named: name -> the other one.
        path: for messages.

    Raises:
        WeightsError: two tensors would have one name.
    """
    for mapping in (selection.tensors, selection.sources):
        renamed = {named(name): value for name, value in mapping.items()}
        if len(renamed) < len(mapping):
            twice = sorted(name for name in mapping if named(name) in mapping.keys() - {name})
            found = f"one tensor under two names: {', '.join(twice)}"
            raise WeightsError(path, found, "each once", CHECK_KIND)
        mapping.clear()
        mapping.update(renamed)  # type: ignore[arg-type]


def fitted(network: Bundled, selection: Selection, path: Path, **origin: Any) -> KeyReport:
    """The report on a selection that a network fits.

    Args:
        network: whose names and shapes are needed, except for the pixels' statistics.
        selection: what the file offers.
        path: of the file, for messages.
        origin: kind, publisher, hosted, files.

    Raises:
        WeightsError: it does not fit; names the first keys at fault and counts them.
    """
    state = network.state_dict()
    needed = {n: tuple(value.shape) for n, value in state.items() if n not in _STATISTICS}
    offered = {n: tuple(value.shape) for n, value in selection.tensors.items()}
    # Files older than PyTorch 0.4.1, and TensorFlow's, do not count batches; nothing reads it.
    missing = [n for n in needed if n not in offered and not n.endswith("num_batches_tracked")]
    wrong = [n for n in offered if n in needed and needed[n] != offered[n]]
    report = KeyReport(
        used={selection.sources[n]: n for n in offered if needed.get(n) == offered[n]},
        dropped=selection.dropped,
        missing=tuple(missing),
        unexpected=tuple(selection.sources[n] for n in offered if n not in needed),
        wrong_shapes={n: (offered[n], needed[n]) for n in wrong},
        notes=selection.notes,
        extras=selection.extras,
        **origin,
    )
    faults = {
        "missing": missing,
        "of a wrong shape": [f"{n} {offered[n]} for {needed[n]}" for n in wrong],
        "unexpected": report.unexpected,
    }
    parts = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{' ...' * (len(names) > _SHOWN)}"
        for what, names in faults.items()
        if names
    ]
    if parts:
        error = WeightsError(
            path,
            "keys " + "; ".join(parts),
            f"exactly those of kind {report.kind!r}",
            f"check that the file is the one from {report.hosted}, and whole",
        )
        error.report = report
        raise error
    return report


@torch.no_grad()
def fill(network: Bundled, selection: Selection, path: Path) -> None:
    """Copy a fitting selection into a network, as float32.

    Raises:
        WeightsError: a value is not finite.
    """
    state = network.state_dict(keep_vars=True)
    for name, value in selection.tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(
                path,
                f"values that are not finite in {selection.sources[name]}",
                "numbers",
                "fetch the file from its publisher again",
            )
        state[name].copy_(value)
