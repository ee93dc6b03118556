"""Cores that a process may use."""

from __future__ import annotations

import os

import pytest

from ssl_kedro.core.cluster import cores_of_each
from ssl_kedro.core.cores import available_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux binds processes to cores")
def test_a_process_bound_to_one_core_has_one() -> None:
    before = os.sched_getaffinity(0)
    assert available_cores() == len(before)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert available_cores() == 1
        assert cores_of_each(1) == 1
    finally:
        os.sched_setaffinity(0, before)
