"""ResNet-50 with channel gates: bottlenecks, two gates each."""

from dataclasses import dataclass
from typing import ClassVar

from ssl_kedro.encoders.gated_resnet import BlockKind, EncoderConfig, GatedResNet18, Stages


@dataclass(frozen=True)
class ResNet50Config(EncoderConfig):
    """Shape of the encoder; fields are those of a ResNet-18."""

    architecture: ClassVar[str] = "resnet50"

    stages: Stages = (3, 4, 6, 3)
    block: BlockKind = "bottleneck"


class GatedResNet50(GatedResNet18):
    """ResNet-50; see :class:`~ssl_kedro.encoders.gated_resnet.GatedResNet18`."""

    config_type = ResNet50Config
    config: ResNet50Config
