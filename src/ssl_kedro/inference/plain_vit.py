"""Features of images by the network in the folder of this file; needs PyTorch and safetensors.

    from model import load

    network = load()
    features = network(images)  # (N, 3, H, W), uint8 or float in [0, 1], RGB -> (N, D)

Run as a program it says what the network is. A vision transformer with norms' factors folded into
its linear layers and without the heads and hidden units that the network does not compute.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

# Channels of a head, and what norms add to the variance.
HEAD, EPSILON = 64, 1e-6
# What the folder calls its weights; the first is what model hubs know.
WEIGHTS = ("model.safetensors", "weights.safetensors")


class Step(nn.Module):
    """Attention or the MLP of a block, added to its tokens; a constant where nothing is kept.

    Rows of the first layer of attention are queries, keys and values of the heads.
    """

    def __init__(self, width: int, plan: dict[str, Any], *, attends: bool) -> None:
        super().__init__()
        self.attends, self.kept = attends, len(plan["kept"])
        if not self.kept:
            self.constant = nn.Parameter(torch.zeros(width))
            return
        inner = self.kept * (HEAD if attends else 1)
        self.first = nn.Linear(width, inner * (3 if attends else 1))
        self.last = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, T, width) to the same."""
        if not self.kept:
            return x + self.constant
        inner = self.first(functional.layer_norm(x, x.shape[-1:], eps=EPSILON))
        if self.attends:
            heads = inner.view(*inner.shape[:2], 3, self.kept, HEAD).permute(2, 0, 3, 1, 4)
            found = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        else:
            found = functional.gelu(inner)
        added: Tensor = x + self.last(found)
        return added


class Network(nn.Module):
    """Images (N, 3, H, W), uint8 or float in [0, 1], RGB, to features (N, D).

    Pixels are normalised inside. H and W are those that the positions are for.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__()
        width, patch = plan["width"], plan["patch"]
        self.mean = plan["pooling"] == "mean"
        self.register_buffer("pixel_mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.ones(1, 3, 1, 1))
        self.patch_embed = nn.Conv2d(3, width, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        tokens = (plan["image_size"] // patch) ** 2 + 1
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {name: Step(width, block[name], attends=name == "attn") for name in ("attn", "mlp")}
            )
            for block in plan["blocks"]
        )
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, images: Tensor) -> Tensor:
        """The class token, or the mean of the patches' tokens, (N, D)."""
        scale = 255.0 if images.dtype == torch.uint8 else 1.0
        pixels = (images / scale - self.pixel_mean) / self.pixel_std
        patches = self.patch_embed(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        x = x + self.pos_embed
        for step in (step for block in self.blocks for step in block.values()):  # type: ignore
            x = step(x)
        tokens: Tensor = self.norm(x)
        return tokens[:, 1:].mean(dim=1) if self.mean else tokens[:, 0]


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
