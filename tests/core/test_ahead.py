from __future__ import annotations

import threading
import time

import pytest

from ssl_kedro.core.ahead import computed_ahead


def test_results_keep_their_order_and_use_all_threads() -> None:
    both = threading.Barrier(2, timeout=10)

    def slower_first(item: int) -> tuple[int, int]:
        both.wait()  # nobody goes on alone
        time.sleep(0.02 / (item + 1))
        return item, threading.get_ident()

    found = list(computed_ahead(slower_first, range(6), 2, 3))
    assert [item for item, _ in found] == list(range(6))
    assert len({thread for _, thread in found}) == 2


def test_only_so_many_results_wait() -> None:
    begun: list[int] = []
    results = computed_ahead(lambda item: begun.append(item) or item, range(100), 2, 3)  # type: ignore[func-returns-value]
    assert next(results) == 0
    time.sleep(0.05)
    assert len(begun) <= 2 * 3 + 1
    results.close()  # type: ignore[attr-defined]
    assert len(begun) < 100


def test_an_error_comes_where_its_item_stands() -> None:
    def refuse(item: int) -> float:
        return 1 / (item - 2)

    results = computed_ahead(refuse, range(5), 2, 4)
    assert [next(results), next(results)] == [-0.5, -1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
