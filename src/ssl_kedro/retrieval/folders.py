"""Descriptors of whatever images lie below a folder, for no task at all."""

import dataclasses
from pathlib import Path

import numpy as np

from ssl_kedro.encoders.maps import MapNetwork, network_fingerprint
from ssl_kedro.images.decode import Resize
from ssl_kedro.images.files import images_below
from ssl_kedro.images.photographs import FilePhotographs
from ssl_kedro.retrieval.descriptors import PoolingConfig, aggregated
from ssl_kedro.retrieval.extraction import ExtractConfig, VectorStore, extract_vectors

_POOLING, _CONFIG = PoolingConfig(), ExtractConfig()


def described_folder(
    images: Path,
    network: MapNetwork,
    vectors: Path,
    *,
    size: int,
    pooling: PoolingConfig = _POOLING,
    config: ExtractConfig = _CONFIG,
) -> tuple[tuple[str, ...], np.ndarray]:
    """Descriptors of all images below a folder, in this process, several, or on a cluster.

    Args:
        images: the folder.
        network: from :func:`~ssl_kedro.encoders.frozen.frozen_encoder`, say.
        vectors: folder for the vectors, kept: called again, it starts from them.
        size: px that images are brought to, both sides.
        pooling: of the maps.
        config: processes, cluster, device, batch size.

    Returns:
        Names of the images below the folder, sorted, and a unit row for each, (N, C) float32, not
        whitened; a row of zeros where an image could not be read.

    Raises:
        ConfigError: too many unreadable images, or processes that cannot be started.
        ClusterError, InputError: as :func:`extract_vectors`.
    """
    names = images_below(images)
    photographs = FilePhotographs([images / name for name in names], names)
    identity = {
        "network": network_fingerprint(network),
        "size": size,
        "pooling": dataclasses.asdict(pooling),
        "precision": config.precision,
        "images": photographs.fingerprint(),
    }
    store, shape = VectorStore(vectors), Resize(size, keep_aspect=False)
    label = f"descriptors of {images}"
    with store.locked():  # until they are read: another call may put its own there
        extract_vectors(photographs, network, shape, pooling, config, store, identity, label)
        return tuple(photographs.names), aggregated(store.vectors(), store.starts(), None)
