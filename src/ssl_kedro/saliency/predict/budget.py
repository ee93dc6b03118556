"""Videos under a budget: what each frame costs a gated encoder, and which frames are computed.

Gates already spend less on some frames than on others. Where a clip as a whole has a budget, a
frame that the allowance does not pay for takes the map of the frame before: within a few frames
people seldom look elsewhere. Decisions look at no frame to come, so that they serve a stream as
well (thesis 7.3).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.panorama_maps import PanoramaMaps
from ssl_kedro.encoders.saliency_model import SaliencyModel


class Allowance:
    """What a clip has been allowed so far, less what it has spent.

    Each frame brings ``share`` of the dense cost. One is computed where the allowance pays for as
    much as the last computed one took, the first in any case: after t frames no more than
    t share dense and the dearest frame is spent.

    Args:
        share: of the dense encoder's cost that a frame may take on average, in (0, 1].
        dense: that cost.
    """

    def __init__(self, share: float, dense: float) -> None:
        self._income = share * dense
        self._left = 0.0
        self._expected: float | None = None

    def pays(self) -> bool:
        """Take the next frame's income; whether it is to be computed."""
        self._left += self._income
        return self._expected is None or self._left >= self._expected

    def spend(self, cost: float) -> None:
        """What a frame has taken."""
        self._left -= cost
        self._expected = cost


def gated_encoder(model: nn.Module) -> PanoramaMaps | None:
    """The model's encoder, where it has masks whose cost is known."""
    encoder = model.encoder if isinstance(model, SaliencyModel) else None
    return encoder if isinstance(encoder, PanoramaMaps) and encoder.masked else None


class GatedFrames:
    """Maps of a clip's frames in their order, with what each cost the encoder.

    Args:
        model: on its device and in evaluation mode, with a gated encoder.
        share: see :class:`Allowance`; None = every frame is computed.

    Raises:
        ConfigError: the encoder has no masks to spend less by.
    """

    def __init__(self, model: nn.Module, share: float | None) -> None:
        encoder = gated_encoder(model)
        if encoder is None or not isinstance(model, SaliencyModel):
            expected = "null: the model's encoder is no gated branch of a ResNet"
            raise ConfigError("predict.budget", share, expected)
        self._encoder, self._decoder = encoder, model.decoder
        self._share = share
        self._allowance: Allowance | None = None
        self._last: np.ndarray | None = None

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> list[tuple[np.ndarray, float]]:
        """Of each image float (N, 3, H, W) its map (H, W) and multiply-accumulates.

        Those of a frame that shows the map of the one before are 0.
        """
        if self._share is None:
            return self._computed(images)
        if self._allowance is None:
            dense = self._encoder.dense_macs(*images.shape[2:])
            self._allowance = Allowance(self._share, dense)
        found = []
        for image in images:
            if self._allowance.pays() or self._last is None:
                (one,) = self._computed(image[None])
                self._allowance.spend(one[1])
                self._last = one[0]
                found.append(one)
            else:
                found.append((self._last, 0.0))
        return found

    def _computed(self, images: Tensor) -> list[tuple[np.ndarray, float]]:
        maps, macs = self._encoder.maps_and_macs(images)
        saliency = self._decoder(maps)[:, 0].float().cpu().numpy()
        return list(zip(saliency, macs.tolist(), strict=True))


def cost_plot(macs: Sequence[float], times_s: Sequence[float], dense: float, path: str) -> None:
    """A PNG of what each frame cost the encoder, as a share of its dense branch, and the mean.

    Args:
        macs: of the frames; 0 where a frame took the map of the one before.
        times_s: when each is shown.
        dense: of one frame by the dense branch.
        path: of the file.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    shares = np.asarray(macs) / dense
    made = Figure(figsize=(8, 2.6), dpi=110, layout="constrained")
    axis = made.subplots()
    axis.vlines(times_s, 0, shares, color="#4477aa", lw=max(0.6, min(4.0, 400 / len(shares))))
    axis.axhline(float(shares.mean()), color="#cc6633", lw=1.2, ls="--")
    axis.set_title(
        f"Encoder a frame: mean {100 * shares.mean():.1f} % of the dense branch "
        f"({dense / 1e9:.2f} GMAC); {int((shares > 0).sum())} of {len(shares)} frames computed",
        fontsize=9,
        loc="left",
    )
    axis.set_xlabel("s", fontsize=9)
    axis.set_ylabel("share of dense MACs", fontsize=9)
    axis.set_ylim(0, 1.05 * max(1e-9, float(shares.max())))
    made.savefig(path, format="png")
