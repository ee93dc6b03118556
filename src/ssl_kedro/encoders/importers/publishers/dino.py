"""DINO (Caron et al. 2021) and DINOv2 (Oquab et al. 2023)."""

from pathlib import Path

from ssl_kedro.encoders.importers.kind import Kind, Selection, selected
from ssl_kedro.encoders.importers.torch_file import tensors_of
from ssl_kedro.encoders.importers.vision_transformer import read_file, vision_transformer

_REASONS = {
    r"(module\.)?head\.": "the projection head, which is no part of the encoder",
    "mask_token": "the token of masked patches, of which images to be encoded have none",
}
_STUDENT = "the student, whose running average the teacher is"


def read_dino(path: Path) -> Selection:
    """The backbone alone, or the teacher of a whole training checkpoint.

    The latter is ``{"teacher": {"backbone.cls_token": ...}, "student": ..., "optimizer": ...}``.
    """
    content = read_file(path, foreign_objects=True)  # the training's arguments
    if not (isinstance(content, dict) and isinstance(content.get("teacher"), dict)):
        return selected(tensors_of(content, path), "", _REASONS, path)
    teacher = tensors_of(content["teacher"], path)
    selection = selected(teacher, r"(module\.)?backbone\.", _REASONS, path)
    others = [str(key) for key in content if key != "teacher"]
    selection.dropped.update(dict.fromkeys(others, "not of the network; not read"))
    if "student" in content:
        selection.dropped["student"] = _STUDENT
    return selection


def read_dinov2(path: Path) -> Selection:
    """The backbone, without the token that stood for masked patches in training."""
    return selected(tensors_of(read_file(path), path), "", _REASONS, path)


KINDS = {
    "dino": Kind(
        publisher="Caron et al. 2021 (Facebook AI Research)",
        file="dino_deitsmall16_pretrain.pth or dino_deitsmall8_pretrain.pth, or a full checkpoint",
        hosted="https://github.com/facebookresearch/dino (README, Pretrained models)",
        read=read_dino,
        network=vision_transformer(),
    ),
    "dinov2": Kind(
        publisher="Oquab et al. 2023 (Meta AI Research)",
        file="dinov2_vits14_pretrain.pth (without registers)",
        hosted="https://github.com/facebookresearch/dinov2 (README, Pretrained models)",
        read=read_dinov2,
        network=vision_transformer(),
    ),
}
