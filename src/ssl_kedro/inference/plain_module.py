"""Features of images by the network in the folder of this file; needs PyTorch and safetensors.

    from model import load

    network = load()
    features = network(images)  # (N, 3, H, W), uint8 or float in [0, 1], RGB -> (N, D)

Run as a program it says what the network is. Residual blocks with batch norms folded into their
convolutions and without the channels that the network does not compute.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

# Kernel, stride and padding of the first convolution.
STEMS = {
    "cifar": (3, 1, 2),
    "cifar_pad1": (3, 1, 1),
    "imagenet": (7, 2, 3),
    "imagenet_same": (7, 2, 3),
}


# What the folder calls its weights; the first is what model hubs know.
WEIGHTS = ("model.safetensors", "weights.safetensors")


class Block(nn.Module):
    """Residual block: convolutions with a ReLU between them, a shortcut, a ReLU.

    Basic blocks have two of 3x3, bottlenecks 1x1, 3x3 and 1x1. Where a layer keeps no channel, a
    constant stands for the convolutions up to the one behind it.
    """

    constant: Tensor | None

    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__()
        inner = [len(layer["kept"]) for layer in plan["layers"]]
        widths = [plan["in_channels"], *inner, plan["out_channels"]]
        kernels = (3, 3) if len(inner) == 1 else (1, 3, 1)
        empty = [index for index, count in enumerate(inner) if not count]
        self.first, self.last = (empty[-1] + 2 if empty else 0), len(inner)
        self.constant = nn.Parameter(torch.zeros(widths[self.first])) if self.first else None
        for index in range(self.first, len(kernels)):
            stride = plan["stride"] if index == kernels.index(3) else 1
            kernel, (given, returned) = kernels[index], widths[index : index + 2]
            conv = nn.Conv2d(given, returned, kernel, stride, kernel // 2)
            self.add_module(f"conv{index + 1}", conv)
        given, returned = widths[0], widths[-1]
        shrinks = plan["downsample"]
        self.downsample = nn.Conv2d(given, returned, 1, plan["stride"]) if shrinks else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C_in, H, W) to (N, C_out, H', W')."""
        shortcut = x if self.downsample is None else self.downsample(x)
        if self.constant is not None:
            x = self.constant[:, None, None].expand(len(x), -1, *shortcut.shape[2:])
            x = torch.relu(x) if self.first <= self.last else x
        for index in range(self.first, self.last + 1):
            x = getattr(self, f"conv{index + 1}")(x)
            x = torch.relu(x) if index < self.last else x
        return torch.relu(x + shortcut)


class Network(nn.Module):
    """Images (N, 3, H, W), uint8 or float in [0, 1], RGB, to features (N, D).

    Pixels are normalised inside.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__()
        kernel, stride, padding = STEMS[plan["stem"]]
        self.register_buffer("pixel_mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.ones(1, 3, 1, 1))
        self.stem = nn.Conv2d(3, plan["width"], kernel, stride, padding)
        self.pool: nn.Module = nn.Identity()
        if plan["stem"].startswith("imagenet"):
            self.pool = nn.MaxPool2d(3, 2, 1)
        self.same = plan["stem"] == "imagenet_same"
        self.blocks = nn.Sequential(*map(Block, plan["blocks"]))

    def forward(self, images: Tensor) -> Tensor:
        """Mean of the last maps, (N, D)."""
        scale = 255.0 if images.dtype == torch.uint8 else 1.0
        pixels = (images / scale - self.pixel_mean) / self.pixel_std
        x = torch.relu(self.stem(pixels))
        if self.same and x.shape[2] % 2 == 0:  # TensorFlow pads an even side behind it alone
            x = nn.functional.max_pool2d(nn.functional.pad(x, (0, 1, 0, 1)), 3, 2)
        else:
            x = self.pool(x)
        maps: Tensor = self.blocks(x)
        return maps.mean(dim=(2, 3))


def load(folder: Path | str = Path(__file__).parent) -> Network:
    """The network of a folder with ``config.json`` and weights, in evaluation mode."""
    folder = Path(folder)
    network = Network(json.loads((folder / "config.json").read_text()))
    weights = next(folder / name for name in WEIGHTS if (folder / name).is_file())
    network.load_state_dict(load_file(weights))
    return network.eval().requires_grad_(False)


if __name__ == "__main__":
    config = json.loads((Path(__file__).parent / "config.json").read_text())
    size = config["image_size"]
    found = load()(torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8))
    sys.stdout.write(f"images of {size} px -> features {tuple(found.shape)}\n")
