"""The entrance: panoramas of a configured source, and several sources as one."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ssl_kedro.core.remote import at_hand, is_remote, local_copy
from ssl_kedro.images.files import EXTENSIONS, passed_over
from ssl_kedro.saliency.panoramas import Fixations, PanoramaSource
from ssl_kedro.saliency.sources.config import JoinedConfig, SourceConfig
from ssl_kedro.saliency.sources.fixation_files import EXTENSIONS as FIXATIONS
from ssl_kedro.saliency.sources.saliency_files import EXTENSIONS as MAPS
from ssl_kedro.saliency.video import VIDEO_EXTENSIONS

# A new source is one file, one line here, and its name in SourceKind, which is the file's too.
# They are imported when they are opened, so that a source costs nothing (OpenCV, generators)
# where it is not used.
_SOURCES = {
    "generated": "GeneratedPanoramas",
    "folder": "FolderPanoramas",
    "manifest": "ManifestPanoramas",
    "salient360": "Salient360Panoramas",
    "vr_eyetracking": "VrEyeTrackingFrames",
    "sitzmann": "SitzmannPanoramas",
    "videos": "VideosPanoramas",
}


# Endings of what some source reads.
_READ = EXTENSIONS | MAPS | FIXATIONS | VIDEO_EXTENSIONS | {".pck", ".pkl", ".pickle"}


def open_source(
    config: SourceConfig, storage_options: Mapping[str, Any] | None = None
) -> PanoramaSource:
    """Panoramas of a source, or of several as one, looked through as far as it is cheap.

    Args:
        config: which.
        storage_options: of a root elsewhere; see :func:`ssl_kedro.core.remote.local_copy`.

    Raises:
        SaliencyDataError: files that cannot be used, named.
        RemoteError: they lie elsewhere and cannot be reached.
    """
    if isinstance(config, JoinedConfig) and config.sources:
        return JoinedSources(
            {name: open_source(one, storage_options) for name, one in config.sources.items()}
        )
    folder, _, name = (config.root or "").rpartition("/")
    if config.source == "manifest" and is_remote(config.root) and name.endswith(".csv"):
        # The files that it lists lie beside it.
        config = replace(config, root=str(local_copy(folder, storage_options) / name))
    config = at_hand(config, storage_options, "root")
    module = import_module(f"ssl_kedro.saliency.sources.{config.source}")
    opened: PanoramaSource = getattr(module, _SOURCES[config.source])(config)
    opened.check()
    if config.source not in ("generated", "manifest"):
        opened.passed_over = passed_over(Path(config.root or "").expanduser(), _READ)
    return opened


class JoinedSources(PanoramaSource):
    """Panoramas of several sources, called ``source/name``; scenes likewise.

    So pre-training sees unlabelled panoramas together with the training scenes of another set.

    Args:
        sources: by the names that come before those of their panoramas.

    Raises:
        ValueError: no source, or a name that is empty or holds a slash.
    """

    def __init__(self, sources: Mapping[str, PanoramaSource]) -> None:
        wrong = [name for name in sources if not name or "/" in name]
        if not sources or wrong:
            found = f"the name {wrong[0]!r}" if wrong else "none"
            raise ValueError(f"expected sources under names without a slash, found {found}")
        self.sources = dict(sources)
        self._places = [
            (source, index) for source in self.sources.values() for index in range(len(source))
        ]
        items = self.sources.items()
        super().__init__(
            [f"{prefix}/{name}" for prefix, source in items for name in source.names],
            [f"{prefix}/{scene}" for prefix, source in items for scene in source.scenes],
            [split for source in self.sources.values() for split in source.splits],
        )
        passed_over: Counter[str] = Counter()
        for source in self.sources.values():
            passed_over.update(source.passed_over)
        self.passed_over = passed_over

    def image(self, index: int, height: int, width: int) -> np.ndarray:
        """One panorama brought to a size; see :class:`PanoramaSource`."""
        source, place = self._places[index]
        return source.image(place, height, width)

    def saliency(self, index: int) -> np.ndarray | None:
        """Its map, None where there is none; see :class:`PanoramaSource`."""
        source, place = self._places[index]
        return source.saliency(place)

    def fixation_sets(self, index: int) -> tuple[Fixations, ...]:
        """Where its viewers looked; see :class:`PanoramaSource`."""
        source, place = self._places[index]
        return source.fixation_sets(place)

    def file(self, index: int) -> Path | None:
        """What it is read from; see :class:`PanoramaSource`."""
        source, place = self._places[index]
        return source.file(place)

    def width_px(self, index: int) -> int | None:
        """How wide it is in its file; see :class:`PanoramaSource`."""
        source, place = self._places[index]
        return source.width_px(place)

    def in_order(self, index: int) -> bool:
        """Whether it is a frame of a video; see :class:`PanoramaSource`."""
        source, place = self._places[index]
        return source.in_order(place)

    @property
    def fingerprint(self) -> str:
        """Changes with the names and with what each source holds."""
        parts = [f"{name}\x1f{source.fingerprint}" for name, source in self.sources.items()]
        return hashlib.sha256("\x1e".join(parts).encode()).hexdigest()[:16]

    def check(self) -> None:
        """Look through each source."""
        for source in self.sources.values():
            source.check()
