"""Features of images by the network in the folder of this file; needs PyTorch and safetensors.

    from model import load

    network = load()
    features = network(images)  # (N, 3, H, W), uint8 or float in [0, 1], RGB -> (N, D)

Run as a program it says what the network is. Residual blocks of two convolutions, with batch norms
folded into them and without the channels that the network does not compute.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

# Kernel, stride and padding of the first convolution.
STEMS = {"cifar": (3, 1, 2), "cifar_pad1": (3, 1, 1), "imagenet": (7, 2, 3)}


# What the folder calls its weights; the first is what model hubs know.
WEIGHTS = ("model.safetensors", "weights.safetensors")


class Block(nn.Module):
    """relu(conv2(relu(conv1(x))) + shortcut(x)); a constant where no inner channel is left."""

    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__()
        given, inner, returned = plan["in_channels"], len(plan["kept"]), plan["out_channels"]
        if inner:
            self.conv1 = nn.Conv2d(given, inner, 3, plan["stride"], 1)
            self.conv2 = nn.Conv2d(inner, returned, 3, 1, 1)
        else:
            self.constant = nn.Parameter(torch.zeros(returned))
        shrinks = plan["downsample"]
        self.downsample = nn.Conv2d(given, returned, 1, plan["stride"]) if shrinks else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C_in, H, W) to (N, C_out, H', W')."""
        shortcut = x if self.downsample is None else self.downsample(x)
        if hasattr(self, "constant"):
            return torch.relu(shortcut + self.constant[:, None, None])
        return torch.relu(self.conv2(torch.relu(self.conv1(x))) + shortcut)


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
        self.pool = nn.MaxPool2d(3, 2, 1) if plan["stem"] == "imagenet" else nn.Identity()
        self.blocks = nn.Sequential(*map(Block, plan["blocks"]))

    def forward(self, images: Tensor) -> Tensor:
        """Mean of the last maps, (N, D)."""
        scale = 255.0 if images.dtype == torch.uint8 else 1.0
        pixels = (images / scale - self.pixel_mean) / self.pixel_std
        maps: Tensor = self.blocks(self.pool(torch.relu(self.stem(pixels))))
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
