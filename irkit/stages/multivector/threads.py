"""Tasks in threads, their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def side_by_side(work: Sequence[Callable[[], T]], threads: int) -> Iterator[T]:
    """Yield the results in the order of the work.

    One task more than there are threads is under way or done, so that results that nobody has taken yet do not pile up. With
    one thread or one task, no thread is started.
    """
    threads = min(threads, len(work))
    if threads <= 1:
        for task in work:
            yield task()
        return
    pool = ThreadPoolExecutor(threads, "side-by-side")
    under_way: deque[Future[T]] = deque()
    try:
        for task in work:
            under_way.append(pool.submit(task))
            if len(under_way) > threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
