"""Weight files that others publish, as networks of maps."""

from ssl_kedro.encoders.importers.kinds import KINDS, Kind, import_weights
from ssl_kedro.encoders.importers.report import KeyReport, WeightsError

__all__ = ["KINDS", "KeyReport", "Kind", "WeightsError", "import_weights"]
