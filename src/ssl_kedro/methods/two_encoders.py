"""Dual gating with two encoders that share nothing (thesis Table 6.5)."""

from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.pair import EncoderPair
from ssl_kedro.methods.base import MethodConfig
from ssl_kedro.methods.dual_gating import DualGating


class TwoEncoders(DualGating):
    """View 1 through a gated encoder, view 2 through a dense one; only the expander is shared."""

    name = "two_encoders"

    def new_encoder(self, setup: EncoderSetup, config: MethodConfig) -> Encoder:
        """A dense and a gated encoder of one shape."""
        return EncoderPair(
            dense=setup.build(("dense",), config.gates),
            gated=setup.build(("gated",), config.gates),
        )
