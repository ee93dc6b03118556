"""``python -m ssl_kedro.inference.native``: compiles the kernel now instead of on first use."""

import contextlib
import sys

from ssl_kedro.inference.engines.base import EngineUnavailableError
from ssl_kedro.inference.native.build import library_path

# Without a kernel a line of the log says why. Not a failure: other engines do the same work.
with contextlib.suppress(EngineUnavailableError):
    sys.stdout.write(f"Native kernel: {library_path()}\n")
