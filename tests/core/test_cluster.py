from __future__ import annotations

import importlib.util
import operator
from functools import partial

import pytest

from ssl_kedro.core.cluster import ClusterError, check_spread, spread
from ssl_kedro.core.config import ConfigError


def test_one_process_is_this_one_and_takes_pieces_in_order() -> None:
    with spread() as workers:
        assert workers.here
        assert list(workers.results(operator.neg, [3, 1, 2])) == [(0, -3), (1, -1), (2, -2)]


@pytest.mark.parametrize(
    "address", ["nobody", "host:8786", "tcp://host", "http://host:8786", "tcp://a b:1", ""]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="address of a Dask scheduler"):
        check_spread(1, address)


def test_processes_beside_a_cluster_are_refused() -> None:
    for address in ("tcp://host:8786", "tls://[::1]:8786"):
        check_spread(1, address)
        with pytest.raises(ConfigError, match="1 beside a cluster"):
            check_spread(2, address)


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_spread(1, None)
    for processes, address in ((2, None), (1, "tcp://host:8786")):
        with pytest.raises(ConfigError, match=r'distributed.*pip install "ssl_kedro\[cluster\]"'):
            check_spread(processes, address)


def test_errors_of_users_come_back_as_their_text() -> None:
    with spread(2) as workers, pytest.raises(ClusterError, match="address of a Dask scheduler"):
        list(workers.results(partial(check_spread, 1), ["nobody"]))
