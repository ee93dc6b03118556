"""ResNet-34 with channel gates: more of ResNet-18's blocks."""

from dataclasses import dataclass
from typing import ClassVar

from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18, Stages


@dataclass(frozen=True)
class ResNet34Config(EncoderConfig):
    """Shape of the encoder; fields are those of a ResNet-18."""

    architecture: ClassVar[str] = "resnet34"

    stages: Stages = (3, 4, 6, 3)


class GatedResNet34(GatedResNet18):
    """ResNet-34; see :class:`~ssl_kedro.encoders.gated_resnet.GatedResNet18`."""

    config_type = ResNet34Config
    config: ResNet34Config
