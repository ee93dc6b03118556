"""Work that threads do ahead of whoever takes its results."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def computed_ahead(
    function: Callable[[T], R], items: Iterable[T], workers: int, waiting: int
) -> Generator[R, None, None]:
    """Results in the order of the items; an error comes where its item stands.

    Args:
        function: called in threads; worth it where most of it runs outside Python's lock.
        items: taken as results are.
        workers: threads.
        waiting: results that wait for their turn, at most, for each thread: they bound the memory.
    """
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > workers * waiting:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
