"""The entrance: panoramas of a configured source."""

from __future__ import annotations

from importlib import import_module

from ssl_kedro.saliency.panoramas import PanoramaSource
from ssl_kedro.saliency.sources.config import SourceConfig

# A new source is one file, one line here, and its name in SourceKind. They are imported when
# they are opened, so that a source costs nothing (OpenCV, generators) where it is not used.
_SOURCES = {
    "folder": ("folder", "FolderPanoramas"),
    "manifest": ("manifest", "ManifestPanoramas"),
    "salient360": ("salient360", "Salient360Panoramas"),
    "vr_eyetracking": ("vr_eyetracking", "VrEyeTrackingFrames"),
    "sitzmann": ("sitzmann", "SitzmannPanoramas"),
}


def open_source(config: SourceConfig) -> PanoramaSource:
    """Panoramas of a source, looked through as far as it is cheap.

    Raises:
        SaliencyDataError: files that cannot be used, named.
    """
    if config.source == "generated":
        generated = import_module("ssl_kedro.saliency.sources.generated")
        source: PanoramaSource = generated.GeneratedPanoramas(
            config.count_train, config.count_test, config.count_unlabelled, config.seed
        )
        return source
    module, name = _SOURCES[config.source]
    opened: PanoramaSource = getattr(import_module(f"ssl_kedro.saliency.sources.{module}"), name)(
        config
    )
    opened.check()
    return opened
