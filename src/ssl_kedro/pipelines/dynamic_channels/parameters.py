"""Parameters of the dynamic_channels pipeline."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.transfer_parameters import TRANSFER
from ssl_kedro.pipelines.gated.variants import DYNAMIC_CHANNELS, DYNAMIC_CHANNELS_PEERS


class DynamicChannelsParameters(EncoderPipelineParameters):
    """Everything of chapter 5 that a user may want to change.

    Args:
        operating_point_within: the operating point is the cheapest budget whose 1-NN accuracy
            is at most so many percentage points below the baseline's.
    """

    dense_method = "simsiam"
    gated_method = "simsiam_gating"
    variants = DYNAMIC_CHANNELS
    peers = DYNAMIC_CHANNELS_PEERS

    operating_point_within: Annotated[float, Field(ge=0, le=100)] = 4.0
    published: Literal["CIFAR-10", "CIFAR-100", "ImageNet-100"] = "CIFAR-10"

    @property
    def further_tags(self) -> Sequence[str]:
        """Those of every pipeline of gated encoders, other data, and gates that decide alike."""
        return (TRANSFER, "consistency", *super().further_tags)
