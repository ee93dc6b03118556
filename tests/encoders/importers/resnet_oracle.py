"""ResNets by their published description, from a dictionary of arrays, in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

COUNTS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def shapes(depth: int, width: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {"conv1.weight": (width, 3, 7, 7)}
    found |= norm_shapes("bn1", width)
    before = width
    for stage, count in enumerate(COUNTS[depth]):
        inner, outer = width * 2**stage, 4 * width * 2**stage
        for block in range(count):
            start = f"layer{stage + 1}.{block}"
            for i, shape in enumerate(
                [(inner, before, 1, 1), (inner, inner, 3, 3), (outer, inner, 1, 1)], start=1
            ):
                found[f"{start}.conv{i}.weight"] = shape
                found |= norm_shapes(f"{start}.bn{i}", shape[0])
            if block == 0:
                found[f"{start}.downsample.0.weight"] = (outer, before, 1, 1)
                found |= norm_shapes(f"{start}.downsample.1", outer)
            before = outer
    return found


def norm_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def random_state(depth: int, width: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes(depth, width).items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(seed + 7)
        elif len(shape) == 4:
            scale = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
            state[name] = scale * torch.randn(shape, generator=generator)
        elif name.endswith(("running_var", "weight")):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        else:
            state[name] = 0.3 * torch.randn(shape, generator=generator)
    return state


def maps(
    state: Mapping[str, Tensor],
    images: Tensor,
    depth: int = 50,
    mean: tuple[float, ...] = MEAN,
    std: tuple[float, ...] = STD,
    same: bool = False,
) -> Tensor:
    """Last maps in float64; images in [0, 1]."""
    values = {name: value.double() for name, value in state.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        column = [values[f"{name}.{p}"].view(-1, 1, 1) for p in ("running_mean", "running_var")]
        scaled = (x - column[0]) / (column[1] + 1e-5).sqrt()
        return scaled * values[f"{name}.weight"].view(-1, 1, 1) + values[f"{name}.bias"].view(
            -1, 1, 1
        )

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = values[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=(weight.shape[2] - 1) // 2)

    x = (images.double() - torch.tensor(mean).double().view(3, 1, 1)) / torch.tensor(
        std
    ).double().view(3, 1, 1)
    x = pooled(norm(conv(x, "conv1", 2), "bn1").clamp(min=0), same)
    for stage, block in blocks(depth):
        name = f"layer{stage}.{block}"
        stride = 2 if stage > 1 and block == 0 else 1
        out = norm(conv(x, f"{name}.conv1"), f"{name}.bn1").clamp(min=0)
        out = norm(conv(out, f"{name}.conv2", stride), f"{name}.bn2").clamp(min=0)
        out = norm(conv(out, f"{name}.conv3"), f"{name}.bn3")
        if block == 0:
            x = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
        x = (out + x).clamp(min=0)
    return x


def blocks(depth: int) -> Iterator[tuple[int, int]]:
    for stage, count in enumerate(COUNTS[depth], start=1):
        for block in range(count):
            yield stage, block


def pooled(x: Tensor, same: bool) -> Tensor:
    """3x3 maximum with stride 2, window by window, over what lies inside."""
    sides = x.shape[2:]
    outputs = [-(-side // 2) for side in sides]
    before = [1, 1]
    if same:  # tf.nn.max_pool2d, padding "SAME"
        before = [
            max((out - 1) * 2 + 3 - side, 0) // 2 for out, side in zip(outputs, sides, strict=True)
        ]
    rows = []
    for i in range(outputs[0]):
        top = i * 2 - before[0]
        row = []
        for j in range(outputs[1]):
            left = j * 2 - before[1]
            window = x[:, :, max(top, 0) : top + 3, max(left, 0) : left + 3]
            row.append(window.amax(dim=(2, 3)))
        rows.append(torch.stack(row, dim=2))
    return torch.stack(rows, dim=2)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).abs().max() / expected.abs().max())
