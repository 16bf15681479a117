"""Many records in batches: calls side by side, sizes that adapt, never two calls for one record or parent at once.

    operations ── cut ──▶ batch ── thread ──▶ send ──▶ results
        ▲                                        │
        └── halved: 413, no answer, locks ◀──────┘

Here: how many records go into a call and which calls go together. What a call is and what its answer means is the
vendor's connector's (`send`). Vendors lock a parent while its children are written, so children of one parent are
never in two calls at the same time; those that had to wait for a lock all the same are sent again, few at a time and
alone. Sending starts with one call and goes side by side when that one worked.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from crm_sync.connectors.backoff import jitter
from crm_sync.connectors.crm import Operation, Result
from crm_sync.core.errors import CrmError, ErrorClass, RecordError

log = logging.getLogger(__name__)

WIDTH = 4  # calls in flight
_AHEAD = 32  # batches that wait for a thread, so that none is idle while the caller records answers or plans
_STALE = 5.0  # seconds; a batch that waited longer for a thread is not sent before the caller has been back
_TRIES = 3  # of a record that was locked
_LOST = 3  # calls in a row without an answer, then no more are made
_TOO_LARGE = 413

NOT_SENT = "NOT_SENT"
"""The code of a record that was not sent, because calls before it failed."""


I = TypeVar("I")  # what is sent: an operation, or something made of one  # noqa: E741


@dataclass(slots=True)
class Pace:
    """How many calls are given to the threads at a time; who keeps it need not begin with one call again."""

    flights: int = 1


@dataclass(frozen=True, slots=True)
class Way(Generic[I]):
    """How batches are sent.

    of: the operation of an item. send: one batch; lists of results as they are known. It may raise CrmError; what has no
    result by then was not written if the error's status is 413, and nobody knows if its class is UNKNOWN_OUTCOME. limit:
    records a call. parent: the record that a vendor locks while it writes this one, None if there is none. sleep: waits
    seconds. lets_go: whether the caller is told, by an empty list, when all that is left is on its way, and may do
    something else.
    """

    of: Callable[[I], Operation]
    send: Callable[[Sequence[I]], Iterator[list[Result]]]
    limit: int
    parent: Callable[[I], str | None]
    sleep: Callable[[float], None]
    width: int = WIDTH
    pace: Pace = field(default_factory=Pace)
    lets_go: bool = False


@dataclass(slots=True)
class _Flight(Generic[I]):
    """A batch on its way, and what became of it. names: what nobody else may write meanwhile. begun: when it was
    handed to the threads. failures: how many failed calls the caller had heard of by then."""

    batch: list[I]
    names: set[str]
    begun: float
    failures: int
    results: list[Result] = field(default_factory=list)
    error: CrmError | None = None
    stale: bool = False


def in_batches(way: Way[I], items: Iterable[I]) -> Iterator[list[Result]]:
    """Send everything; one list of results per call, in the order in which they were answered.

    Raises CrmError when a call failed as a whole (the gravest, if several did), after what is known was handed out: what
    the other calls told, and what was never sent. A call without an answer stops the others only if it happens three
    times in a row. No thread is left when the iterator ends.
    """
    sender = _Batches(way, items)
    try:
        yield from sender.run()
    finally:
        sender.pool.shutdown(wait=True, cancel_futures=True)


class _Batches(Generic[I]):
    def __init__(self, way: Way[I], items: Iterable[I]) -> None:
        self.way = way
        self.waiting = deque(items)
        self.pool = ThreadPoolExecutor(way.width, thread_name_prefix="batches")
        self._flying: dict[Future[_Flight[I]], _Flight[I]] = {}
        self._busy: set[str] = set()
        self._locked: list[tuple[I, Result]] = []
        self._tries: dict[str, int] = {}
        self._size = way.limit
        self._lost = 0
        self._failed = 0  # calls, counted by the threads
        self._heard = 0  # of them, by the caller
        self._counting = threading.Lock()
        self._error: BaseException | None = None
        self._stopped = False

    def run(self) -> Iterator[list[Result]]:
        let_go = False
        held: list[
            Result
        ] = []  # what came after the caller was let go; all of it at once says that nothing is left
        while True:
            self._launch()
            if not self._flying:
                if not self._locked or self._stopped:
                    break
                self._once_more()
                continue
            if self.way.lets_go and not (let_go or self.waiting or self._stopped):
                let_go = True
                yield []
            known = self._landings()
            self._launch()  # nobody is to be idle while the caller is at work
            if let_go:
                held += known
            elif known:
                yield known
        held += [result for _, result in self._locked]
        if held:
            yield held
        if self.waiting:
            error = RecordError(ErrorClass.TRANSIENT, NOT_SENT, "calls before this one failed")
            yield [Result.refused(self.way.of(item), error) for item in self.waiting]
        if self._error is not None:
            raise self._error

    def _landings(self) -> list[Result]:
        """What the calls say that have come back; there is one at least."""
        done, _ = wait(self._flying, return_when=FIRST_COMPLETED)
        known: list[Result] = []
        for future in done:
            flight = self._flying.pop(future)
            self._busy -= flight.names
            broken = future.exception()
            if broken is None:
                known += self._landed(future.result())
            else:  # no vendor's error: nothing is known of this call, but what the others said counts
                self._error, self._stopped = broken, True
        return known

    def _launch(self) -> None:
        while not self._stopped and self.waiting and len(self._flying) < self.way.pace.flights:
            batch, names = self._cut()
            if not batch:
                return  # all that is left has to wait for what is in flight
            self._busy |= names
            flight = _Flight(batch, names, time.monotonic(), self._heard)
            self._flying[self.pool.submit(self._fly, flight)] = flight

    def _fly(self, flight: _Flight[I]) -> _Flight[I]:
        """In a thread: one call, unless one has failed that the caller did not know of when he made this one up: how to
        go on is his to decide."""
        if time.monotonic() - flight.begun > _STALE or flight.failures != self._failed:
            flight.stale = True
            return flight
        try:
            for known in self.way.send(flight.batch):
                flight.results += known
        except BaseException as error:
            with self._counting:
                self._failed += 1
            if not isinstance(error, CrmError):
                raise
            flight.error = error
        return flight

    def _cut(self) -> tuple[list[I], set[str]]:
        """The next batch and its names: no record twice, and nothing whose record or parent is in another call."""
        batch: list[I] = []
        names: set[str] = set()
        later: list[I] = []
        taken: set[str] = set()
        while self.waiting and len(batch) < self._size and len(later) < 10 * self.way.limit:
            item = self.waiting.popleft()
            operation = self.way.of(item)
            own = {operation.key, operation.crm_id or f"new {operation.key}"}
            mine = self._names(item)
            if not own.isdisjoint(taken) or not self._busy.isdisjoint(mine):
                later.append(item)
            else:
                batch.append(item)
                names.update(mine)
                taken |= own
        self.waiting.extendleft(reversed(later))
        return batch, names

    def _names(self, item: I) -> list[str]:
        """What nobody else may write at the same time: the record, and its parent."""
        operation, parent = self.way.of(item), self.way.parent(item)
        return [name for name in (operation.key, operation.crm_id, parent) if name is not None]

    def _landed(self, flight: _Flight[I]) -> list[Result]:
        """The results to be handed out; what is to be sent again goes back."""
        if flight.stale:
            self.waiting.extendleft(reversed(flight.batch))
            return []
        known = self._without_locked(flight)
        if flight.error is None:
            self._lost = 0
            self._size = min(self.way.limit, self._size + max(1, self._size // 2))
            self.way.pace.flights = min(self.way.width + _AHEAD, self.way.pace.flights * 2)
            return known
        self._heard += 1
        self.way.pace.flights = 1
        answered = {result.key for result in flight.results}
        rest = [item for item in flight.batch if self.way.of(item).key not in answered]
        if flight.error.status == _TOO_LARGE:
            self._size = max(1, len(flight.batch) // 2)
            if len(flight.batch) > 1:
                self.waiting.extendleft(reversed(rest))
                return known
            error = RecordError(ErrorClass.VALIDATION, "TOO_LARGE", "the record is too large for one call")
            return [*known, *(Result.refused(self.way.of(item), error) for item in rest)]
        if self._error is None or (
            isinstance(self._error, CrmError) and flight.error.gravity > self._error.gravity
        ):
            self._error = flight.error
        self._lost += 1
        self._size = max(1, self._size // 2)
        unknown = flight.error.error_class is ErrorClass.UNKNOWN_OUTCOME
        self._stopped = self._stopped or not unknown or self._lost >= _LOST
        return known

    def _without_locked(self, flight: _Flight[I]) -> list[Result]:
        """The results but those of records that were locked and may be tried once more."""
        if all(result.ok for result in flight.results):
            return flight.results
        items = {self.way.of(item).key: item for item in flight.batch}
        known: list[Result] = []
        for result in flight.results:
            tries = self._tries.get(result.key, 1)
            if result.ok or result.error is None or not result.error.rule.soon or tries >= _TRIES:
                known.append(result)
            else:
                self._tries[result.key] = tries + 1
                self._locked.append((items[result.key], result))
        return known

    def _once_more(self) -> None:
        """Send the locked ones again: after a pause, alone, and few at a time."""
        log.info("%d records were locked; sending them again", len(self._locked))
        self.way.sleep(jitter(max(self._tries.values())))
        self.waiting.extend(item for item, _ in self._locked)
        self._locked = []
        self.way.pace.flights = 1
        self._size = max(1, min(self._size, len(self.waiting)) // 2)
