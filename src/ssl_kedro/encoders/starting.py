"""What encoders begin a training with: the dense weights of a trained one, pixels' statistics."""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ssl_kedro.core.errors import InputError, first_few
from ssl_kedro.encoders.base import Backbone, Encoder

# Fields of shapes, where both have them.
_TOLD = ("width", "stem", "stages", "block", "patch", "depth", "pooling", "layer_scale")


def start_from(encoder: Encoder, trained: Encoder) -> None:
    """Take over a trained encoder's dense weights, as a start for a training.

    The norms of all branches begin as its dense ones, and pixels are normalised as it does. Gates
    keep their own weights: they are learnt. Positions of a transformer's tokens, which there are
    others of for images of another size, are interpolated.

    Args:
        encoder: changed in place.
        trained: with a dense branch, of the same shape; left as it was.

    Raises:
        InputError: it has no dense branch, or its weights are others than those that are needed
            here, or have other shapes.
    """
    if "dense" not in trained.branches:
        raise InputError(
            "encoder to start from",
            f"{type(trained).__name__} has no 'dense' branch",
            "an encoder that was trained dense, alone or beside a gated branch",
            "name another one",
        )
    source = trained.member("dense")
    parts = [part for part in encoder.modules() if isinstance(part, Backbone)]
    dense = {name: v for name, v in _weights(source).items() if ".gated." not in name}
    with torch.no_grad():
        offered = [part.adopted(dense) for part in parts]
        for part, weights in zip(parts, offered, strict=True):
            _check(part, source, weights)
        for part, weights in zip(parts, offered, strict=True):
            for name, value in _weights(part).items():
                value.copy_(weights[_dense(name)])
            for name in ("pixel_mean", "pixel_std"):
                getattr(part, name).copy_(source.get_buffer(name))


@torch.no_grad()
def set_pixel_statistics(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
    """Let all encoders in a network normalise by a mean and a deviation a channel, in [0, 1]."""
    for part in network.modules():
        if isinstance(part, Backbone):
            part.pixel_mean.copy_(torch.tensor(mean).view(1, 3, 1, 1))
            part.pixel_std.copy_(torch.tensor(std).view(1, 3, 1, 1))


def _check(encoder: Backbone, source: Encoder, offered: Mapping[str, Tensor]) -> None:
    """Refuse weights that are no dense branch of such an encoder; see :func:`start_from`."""
    needed = {_dense(name): tuple(v.shape) for name, v in _weights(encoder).items()}
    found = {name: tuple(v.shape) for name, v in offered.items()}
    wrong = [n for n in needed.keys() | found.keys() if needed.get(n) != found.get(n)]
    faults = [f"{n} {found.get(n, 'missing')} for {needed.get(n, 'none')}" for n in sorted(wrong)]
    # No weight tells how the first convolution pads or what is pooled, and a hundred tell another
    # width.
    told = {
        name: [getattr(getattr(one, "config", None), name, None) for one in (source, encoder)]
        for name in _TOLD
    }
    named = [
        f"{name} {a} for {b}" for name, (a, b) in told.items() if a != b and None not in (a, b)
    ]
    shapes = [getattr(one, "config", None) for one in (source, encoder)]
    kinds = [type(shape).__dataclass_fields__.keys() for shape in shapes if shape is not None]
    if kinds[1:] and kinds[0] != kinds[1]:
        named = [" for ".join(f"a {getattr(shape, 'architecture', '')}" for shape in shapes)]
    if faults := named or faults:
        raise InputError(
            "encoder to start from",
            first_few(faults),
            f"the weights of a {encoder.config.architecture} of this shape",
            "give both encoders one architecture and shape",
        )


def _weights(encoder: Encoder) -> dict[str, Tensor]:
    """Its parameters and what layers keep, by name, but for gates.

    Buffers of the encoder itself, such as statistics of pixels, are none of its weights.
    """
    learnt = {id(v) for gate in encoder.gates() for v in gate.state_dict(keep_vars=True).values()}
    state = encoder.state_dict(keep_vars=True).items()
    return {name: v for name, v in state if id(v) not in learnt and _is_weight(name, v)}


def _is_weight(name: str, value: Tensor) -> bool:
    return "." in name or isinstance(value, nn.Parameter)


def _dense(name: str) -> str:
    """The name of a branch's weight in a dense network, where stem and downsample have one norm."""
    name = re.sub(r"(stem|downsample)_norm\.gated\.", r"\1.1.", name)
    return name.replace(".gated.", ".dense.")
