"""Fetching ahead: while one result is being used, the next ones are already on their way.

Here: order, bounds and a tidy end. What is fetched, and whether that may be done side by side, is the caller's.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from itertools import repeat
from typing import TypeVar

T = TypeVar("T")


def ahead(
    tasks: Iterable[Callable[[], T]],
    *,
    threads: int,
    most: int,
    discard: Callable[[T], None] = lambda _: None,
) -> Generator[T, None, None]:
    """The results of the tasks, in the order of the tasks.

    threads: so many tasks run side by side. most: so many are begun and not yet handed out, which bounds the memory.
    The tasks themselves are drawn in the caller's thread, one when there is room for it. An error of a task is raised
    in its turn; what was fetched behind it, or behind the place where the caller stops, is given to `discard`. No
    thread is left running when the iterator ends or is closed.
    """
    begun: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        for task in tasks:
            begun.append(pool.submit(task))
            if len(begun) >= most:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for future in begun:
            if not future.cancelled():
                with suppress(Exception):  # the error that ended us came first
                    discard(future.result())


def drawn_ahead(items: Iterator[T], most: int) -> Iterator[T]:
    """The items, drawn one after the other in a thread of its own, up to `most` before they are asked for."""
    draws: Iterator[Callable[[], T | None]] = repeat(partial(next, items, None))
    with closing(ahead(draws, threads=1, most=most)) as drawn:
        for item in drawn:
            if item is None:
                return
            yield item
