"""``python -m ssl_kedro`` and ``ssl_kedro``: ``kedro run`` of the installed package.

It takes the options of ``kedro run`` and reads ``conf`` of the current folder, or what
``--conf-source`` names: a folder, or the archive that ``kedro package`` writes beside the wheel.
"""

import sys
from typing import Any

from ssl_kedro.core.extras import NotInstalledError, require


def main(*arguments: Any, **options: Any) -> Any:
    """Run a pipeline; in an interactive session, return what it returns."""
    try:
        require("running a pipeline", "kedro")
    except NotInstalledError as error:
        sys.exit(f"Error: {error}")
    from kedro.framework.cli.utils import find_run_command  # noqa: PLC0415  optional
    from kedro.framework.project import configure_project  # noqa: PLC0415

    configure_project("ssl_kedro")
    run = find_run_command("ssl_kedro")
    return run(*arguments, **options, standalone_mode=not hasattr(sys, "ps1"))


if __name__ == "__main__":
    main()
