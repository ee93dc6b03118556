"""Kedro's command line with limits of time and memory.

``python -m adversary.within_limits SECONDS arguments of kedro``; SIGALRM ends it after its time.
"""

import resource
import runpy
import signal
import sys

_MEMORY_BYTES = 6 * 2**30

if __name__ == "__main__":
    signal.alarm(int(sys.argv.pop(1)))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    runpy.run_module("kedro", run_name="__main__", alter_sys=True)
