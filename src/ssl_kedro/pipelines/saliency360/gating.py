"""Node of chapter 4 that times gated encoders."""

import numpy as np

from ssl_kedro.core.devices import resolved_device
from ssl_kedro.encoders.panorama_encoder import PanoramaNetwork
from ssl_kedro.encoders.panorama_maps import PanoramaMaps
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.saliency.gating_time import GatingTime, gating_time
from ssl_kedro.saliency.store import PanoramaStore, StoredPanoramas

# Panoramas that gates are looked at on, and that are timed.
_TIMED = 8


def measure_gating(
    parameters: Saliency360Parameters,
    stored: StoredPanoramas,  # noqa: ARG001  they are in the store
    store: PanoramaStore,
    network: PanoramaNetwork,
) -> list[GatingTime]:
    """What a gated encoder takes beside its dense branch; nothing of one without masks."""
    if not isinstance(network, PanoramaMaps) or not network.masked:
        return []
    images = np.array(store.images()[:_TIMED])
    return [gating_time(network, images, resolved_device(parameters.decoder_train.device))]
