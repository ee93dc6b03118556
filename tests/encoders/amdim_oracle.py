"""AMDIM's encoder by its description, from a dictionary of arrays, in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

# (kind, outputs in units of ndf, window, stride), 0 outputs = n_rkhs
Layer = tuple[str, int, int, int]
TAIL: dict[int, list[Layer]] = {
    32: [("unit", 1, 1, 1), ("block", 2, 4, 2), ("block", 4, 2, 2), ("norm", 4, 0, 0)]
    + [("block", 4, 3, 1)] * 2,
    64: [("block", 2, 4, 2), ("block", 4, 4, 2), ("block", 8, 2, 2), ("norm", 8, 0, 0)]
    + [("block", 8, 3, 1)] * 2,
}
TAIL[128] = [("stem", 1, 3, 1), *TAIL[64]]
PIXELS = {
    32: ([125.3 / 255, 123 / 255, 113.9 / 255], [63 / 255, 62.1 / 255, 66.7 / 255]),
    64: ([0.43, 0.42, 0.39], [0.27, 0.26, 0.27]),
    128: ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}


def plan(size: int) -> list[Layer]:
    first: Layer = ("stem", 1, 5, 2) if size == 128 else ("stem", 1, 3, 1)
    return [first, *TAIL[size], ("unit", 0, 3, 1), ("last norm", 0, 0, 0)]


def shapes(
    ndf: int, n_rkhs: int, n_depth: int, encoder_size: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    before = 3
    for number, (kind, factor, window, _) in enumerate(plan(encoder_size)):
        outputs = ndf * factor or n_rkhs
        name = f"layer_list.{number}"
        if kind == "stem":
            yield f"{name}.conv.weight", (outputs, before, window, window)
            yield f"{name}.conv.bias", (outputs,)
        elif "norm" in kind:
            yield from norm(f"{name}.bn", outputs)
        elif kind == "unit":
            yield from unit(name, before, outputs, window)
        else:
            for i in range(n_depth):
                inputs, side = (before, window) if i == 0 else (outputs, 1)
                yield from unit(f"{name}.layer_list.{i}", inputs, outputs, side)
        before = outputs


def unit(name: str, inputs: int, outputs: int, side: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.conv1.weight", (outputs, inputs, side, side)
    yield f"{name}.conv2.weight", (outputs, outputs, 1, 1)
    if outputs < inputs:
        yield f"{name}.conv3.weight", (outputs, inputs, side, side)
        yield f"{name}.conv3.bias", (outputs,)
    yield from norm(f"{name}.bn1.bn", outputs)


def norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)
    yield f"{name}.num_batches_tracked", ()


def random_state(
    ndf: int, n_rkhs: int, n_depth: int, encoder_size: int, use_bn: bool, seed: int = 0
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes(ndf, n_rkhs, n_depth, encoder_size):
        if not shape:
            state[name] = torch.tensor(3)
        elif len(shape) == 4:
            scale = (shape[1] * shape[2] * shape[3]) ** -0.5
            state[name] = scale * torch.randn(shape, generator=generator)
        elif name.endswith("running_var") or name.endswith("bn.weight"):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        else:
            state[name] = 0.2 * torch.randn(shape, generator=generator)
    return state


def layers(state: Mapping[str, Tensor], images: Tensor, size: int, use_bn: bool) -> list[Tensor]:
    """Outputs of all layers in float64; as many as the images are large enough for."""
    s = {name: value.double() for name, value in state.items()}
    mean, std = (torch.tensor(v).double().view(3, 1, 1) for v in PIXELS[size])

    def normed(x: Tensor, name: str) -> Tensor:
        p = [s[f"{name}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var")]
        q = [s[f"{name}.{part}"].view(-1, 1, 1) for part in ("weight", "bias")]
        return (x - p[0]) / (p[1] + 1e-5).sqrt() * q[0] + q[1]

    def residual(x: Tensor, name: str, window: int, stride: int) -> Tensor:
        h = F.conv2d(x, s[f"{name}.conv1.weight"], stride=stride)
        if use_bn:
            h = normed(h, f"{name}.bn1.bn")
        h = F.conv2d(h.clamp(min=0), s[f"{name}.conv2.weight"])
        if f"{name}.conv3.weight" in s:
            weight, bias = s[f"{name}.conv3.weight"], s[f"{name}.conv3.bias"]
            return h + F.conv2d(x, weight, bias, stride=stride)
        mean = x.unfold(2, window, stride).unfold(3, window, stride).mean(dim=(4, 5))
        zeros = torch.zeros(len(x), h.shape[1] - x.shape[1], *mean.shape[2:]).double()
        return h + torch.cat([mean, zeros], dim=1)

    x, found = (images.double() - mean) / std, []
    for number, (kind, _, window, stride) in enumerate(plan(size)):
        name = f"layer_list.{number}"
        if min(x.shape[2:]) < window:
            break
        if kind == "stem":
            if window == 5:
                x = reflected(x, 2)
            weight, bias = s[f"{name}.conv.weight"], s[f"{name}.conv.bias"]
            x = F.conv2d(x, weight, bias, stride=stride).clamp(min=0)
        elif kind == "last norm" or (kind == "norm" and use_bn):
            x = normed(x, f"{name}.bn")
        elif kind == "unit":
            x = residual(x, name, window, stride)
        elif kind == "block":
            i = 0
            while f"{name}.layer_list.{i}.conv1.weight" in s:
                x = residual(x, f"{name}.layer_list.{i}", *((window, stride) if i == 0 else (1, 1)))
                i += 1
        found.append(x)
    return found


def reflected(x: Tensor, pad: int) -> Tensor:
    """Mirrored at the border pixels, which are not repeated."""
    for dimension in (2, 3):
        side = x.shape[dimension]
        index = [abs(i) for i in range(-pad, side)] + [side - 2 - i for i in range(pad)]
        x = x.index_select(dimension, torch.tensor(index))
    return x
