"""Kedro's command line in forks of one warm process, with limits whatever it is given."""

from __future__ import annotations

import signal
import time

import warm
from adversary.projects import Done, Place, surroundings


def run(place: Place, arguments: list[str], limit_s: int = 40) -> Done:
    """As :meth:`Place.run`, forked."""
    began = time.perf_counter()
    name, given = "adversary.within_limits", (str(limit_s), *arguments)
    done = warm.run_module(name, *given, folder=place.path, environment=surroundings())
    code = None if done.returncode == -signal.SIGALRM else done.returncode
    return Done(code, done.stdout + done.stderr, time.perf_counter() - began)
