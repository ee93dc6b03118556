"""Vision transformers under the names of timm, which has the same layers."""

import re
from typing import cast

import torch
from torch import Tensor

from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.gated_vit import GatedViT, ViTConfig

# timm's name by width, patch, side of the images and layer scale; all of 12 blocks.
ARCHITECTURES = {
    (192, 16, 224, False): "vit_tiny_patch16_224",
    (192, 16, 384, False): "vit_tiny_patch16_384",
    (384, 16, 224, False): "vit_small_patch16_224",
    (384, 16, 384, False): "vit_small_patch16_384",
    (384, 8, 224, False): "vit_small_patch8_224",
    (384, 14, 518, True): "vit_small_patch14_dinov2",
    (768, 16, 224, False): "vit_base_patch16_224",
    (768, 14, 518, True): "vit_base_patch14_dinov2",
}


def encoder_name(name: str) -> str:
    """Name in a dense encoder of what timm calls so; others stay as they are."""
    return re.sub(r"^((?:blocks\.\d+\.)?norm[12]?)\.(weight|bias)$", r"\1.dense.\2", name)


def timm_architecture(encoder: Encoder) -> str:
    """What timm calls an encoder's dense branch, "vit_tiny_patch16_224"; "" = it has none."""
    source = encoder.member("dense") if "dense" in encoder.branches else None
    shape = source.config if isinstance(source, GatedViT) else None
    if shape is None or (shape.depth, shape.pooling) != (ViTConfig.depth, "class"):
        return ""
    if shape.inner_channels is not None:
        return ""
    key = (shape.width, shape.patch, encoder.image_size, shape.layer_scale)
    return ARCHITECTURES.get(key, "")


@torch.no_grad()
def timm_weights(encoder: Encoder) -> dict[str, Tensor]:
    """The dense branch under timm's names.

    There is no classifier: give ``num_classes=0``. Pixels have to be normalised by the encoder's
    own ``pixel_mean`` and ``pixel_std``.

    Args:
        encoder: with a dense branch; left as it was.

    Returns:
        Copies on the CPU, contiguous.

    Raises:
        InputError: timm has no network of its shape.
        ValueError: it has no dense branch.
    """
    encoder.check_branch("dense")
    source = encoder.member("dense")
    if not timm_architecture(encoder):
        raise InputError(
            "encoder to write for timm",
            f"{getattr(source, 'config', type(encoder).__name__)}, {encoder.image_size} px",
            f"one that it has: 12 blocks, all heads, the class token, {', '.join(_sizes())}",
            "write it with code of its own: ssl_kedro.inference.export.export_bundle",
        )
    own = cast(GatedViT, source)
    return {
        name.replace(".dense.", "."): value.detach().cpu().clone().contiguous()
        for name, value in own.state_dict().items()
        if not re.search(r"(^pixel_|\.gate\.|\.gated\.)", name)
    }


def _sizes() -> list[str]:
    """Shapes in words."""
    return [
        f"width {width} with patches of {patch} px at {side} px{' and layer scale' * scaled}"
        for width, patch, side, scaled in ARCHITECTURES
    ]
