"""SimCLR v1 (Chen et al. 2020): ResNet-50 of width 1x, 2x and 4x from TensorFlow's checkpoints.

TensorFlow 1 numbers layers as they are made: ``base_model/conv2d``, ``conv2d_1`` and so on, and
batch norms beside them. A block with a projection makes that first, then its 1x1, 3x3 and 1x1.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ssl_kedro.encoders.importers.kind import CHECK_KIND, Kind, Selection, WeightsError, resnet
from ssl_kedro.encoders.importers.tensor_bundle import TensorBundle, bundle_files

_BLOCKS = (3, 4, 6, 3)
_LAYER = r"base_model/(conv2d|batch_normalization)(_\d+)?/\w+"
_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_CLASSIFIER = {
    "head_supervised/linear_layer/dense/kernel": "classifier.weight",
    "head_supervised/linear_layer/dense/bias": "classifier.bias",
}
_REASONS = {
    **dict.fromkeys(_CLASSIFIER, "the linear classifier, kept apart"),
    "global_step.*": "the number of steps trained",
    "head_contrastive/.*": "the projection head, which is no part of the encoder",
    f"{_LAYER}/[^/]*": "a state of the optimiser",
    ".*": "not of the network",
}


def read_simclr(path: Path) -> Selection:
    """Tensors of a checkpoint under torchvision's names, HWIO turned into OIHW.

    The linear classifier, where there is one, becomes the extras "classifier.weight"
    (classes, D) and "classifier.bias" (classes,). Layers without a name there keep their own.

    Raises:
        WeightsError: the checkpoint is damaged.
    """
    bundle = TensorBundle(path)
    names = _names()
    found = Selection()
    for variable in bundle.entries:
        if re.fullmatch(_LAYER, variable):
            name = names.get(variable, variable)
            found.tensors[name] = _tensor(bundle, variable, path)
            found.sources[name] = variable
            continue
        reasons = (why for form, why in _REASONS.items() if re.fullmatch(form, variable))
        found.dropped[variable] = next(reasons)
        if variable in _CLASSIFIER:
            found.extras[_CLASSIFIER[variable]] = _tensor(bundle, variable, path)
    return found


def _names() -> dict[str, str]:
    """Names of the variables in torchvision."""
    names = {}
    for number, (convolution, norm) in enumerate(_layers()):
        suffix = f"_{number}" if number else ""
        names[f"base_model/conv2d{suffix}/kernel"] = f"{convolution}.weight"
        for theirs, ours in _NORM.items():
            names[f"base_model/batch_normalization{suffix}/{theirs}"] = f"{norm}.{ours}"
    return names


def _layers() -> Iterator[tuple[str, str]]:
    """Names of convolution and batch norm in the order in which TensorFlow makes them."""
    yield "conv1", "bn1"
    for stage, count in enumerate(_BLOCKS, start=1):
        for block in range(count):
            start = f"layer{stage}.{block}"
            if block == 0:
                yield f"{start}.downsample.0", f"{start}.downsample.1"
            for i in (1, 2, 3):
                yield f"{start}.conv{i}", f"{start}.bn{i}"


def _tensor(bundle: TensorBundle, variable: str, path: Path) -> Tensor:
    values = bundle.tensor(variable)
    if values.dtype.kind != "f":
        raise WeightsError(path, f"{variable} of type {values.dtype}", "float32", CHECK_KIND)
    tensor = torch.from_numpy(values)
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1)
    return tensor.T.contiguous() if tensor.ndim == 2 else tensor


def _simclr(multiplier: int) -> Kind:
    """SimCLR v1 of one width."""
    return Kind(
        publisher="Chen et al. 2020 (Google Research)",
        file=f"ResNet50_{multiplier}x.zip, unpacked: model.ckpt-<n>.index and .data-*",
        hosted="https://github.com/google-research/simclr (README, SimCLRv1 models)",
        normalisation="none: pixels in [0, 1]",
        row=f"SimCLR {multiplier}x",
        read=read_simclr,
        network=resnet(
            max_pool="same", width=64 * multiplier, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
        ),
        sources=bundle_files,
    )


KINDS = {f"simclr_{multiplier}x": _simclr(multiplier) for multiplier in (1, 2, 4)}
