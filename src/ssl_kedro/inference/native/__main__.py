"""``python -m ssl_kedro.inference.native``: compiles the kernel now instead of on first use."""

import sys

from ssl_kedro.inference.native.build import NativeUnavailableError, library_path

try:
    sys.stdout.write(f"Native kernel: {library_path()}\n")
except NativeUnavailableError as error:
    # Not a failure: other engines do the same work.
    sys.stdout.write(f"Native kernel not built, other engines are used: {error}\n")
