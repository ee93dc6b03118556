"""VICReg (Bardes et al. 2022) and Barlow Twins (Zbontar et al. 2021), of one layout."""

from pathlib import Path

from ssl_kedro.encoders.importers.kind import CLASSIFIER, Kind, Selection, selected
from ssl_kedro.encoders.importers.torch_file import read_torch, tensors_of

_REASONS = {
    r"(module\.)?projector\.": "the projector, which is no part of the encoder",
    r"(module\.)?bn\.": "the normalisation of the loss",
    r"(module\.)?backbone\.fc\.": CLASSIFIER,
}


def read_backbone(path: Path) -> Selection:
    """A state dict without ``fc``, or a whole training checkpoint.

    The latter is ``{"model": {"module.backbone.conv1.weight": ...}}``.
    """
    content = read_torch(path)
    if not (isinstance(content, dict) and isinstance(content.get("model"), dict)):
        return selected(tensors_of(content, path), "", {r"fc\.": CLASSIFIER}, path)
    tensors = tensors_of(content["model"], path)
    return selected(tensors, r"(module\.)?backbone\.", _REASONS, path)


KINDS = {
    "vicreg": Kind(
        publisher="Bardes et al. 2022 (Facebook AI Research)",
        file="resnet50.pth or resnet50_fullckpt.pth",
        hosted="https://github.com/facebookresearch/vicreg (README, Pretrained models)",
        read=read_backbone,
    ),
    "barlow_twins": Kind(
        publisher="Zbontar et al. 2021 (Facebook AI Research)",
        file="resnet50.pth or checkpoint.pth",
        hosted="https://github.com/facebookresearch/barlowtwins (README, Pretrained model)",
        read=read_backbone,
    ),
}
