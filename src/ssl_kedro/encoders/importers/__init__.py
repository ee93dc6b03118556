"""Weight files that others publish, as networks of maps."""

from ssl_kedro.encoders.importers.kind import Kind
from ssl_kedro.encoders.importers.kinds import KINDS, import_weights
from ssl_kedro.encoders.importers.report import KeyReport, WeightsError

__all__ = ["KINDS", "KeyReport", "Kind", "WeightsError", "import_weights"]
