"""timm's vision transformers, trained with labels (Steiner et al. 2022)."""

from pathlib import Path

from ssl_kedro.encoders.importers.kind import CLASSIFIER, Kind, Selection, selected
from ssl_kedro.encoders.importers.torch_file import tensors_of
from ssl_kedro.encoders.importers.vision_transformer import read_file, vision_transformer

_HALF = (0.5, 0.5, 0.5)


def read_timm_vit(path: Path) -> Selection:
    """A state dict of timm, whose ``head`` is dropped."""
    return selected(tensors_of(read_file(path), path), "", {r"head\.": CLASSIFIER}, path)


KINDS = {
    "timm_vit": Kind(
        publisher="Steiner et al. 2022, in timm (supervised on ImageNet-21k and ImageNet)",
        file="model.safetensors or pytorch_model.bin of vit_{tiny,small}_patch16_224",
        hosted="https://huggingface.co/timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k (or small)",
        trained="supervised",
        read=read_timm_vit,
        network=vision_transformer(_HALF, _HALF),
        normalisation="mean 0.5 and deviation 0.5",
    ),
}
