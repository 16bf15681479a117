"""What breaks: a process that may die, a client whose calls go wrong. Every fault that strikes is counted by its kind.

A fault is laid out beforehand (by a step of a story) and strikes at most once. Here belongs how things break, not when
(`story.py`), nor processes that the operating system really kills (`child.py`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import psycopg

from crm_sync.connectors.crm import BatchPage, JobLog, Operation, Page, ReadRequest, Result
from crm_sync.connectors.memory import Knobs, MemoryCrm
from crm_sync.connectors.memory_account import MemoryAccount
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import StreamSpec
from crm_sync.hub.store import Store

OVERLAP = timedelta(seconds=60)


class Killed(Exception):  # noqa: N818 - what happened to the process
    """The process died here: its connection to the database is gone, nothing after this point took place."""


class Fuse:
    """Ends the running process at the n-th place where it could die, or lets somebody act at the n-th place where it
    holds nothing."""

    def __init__(self, hit: Callable[[str], None]) -> None:
        self.left: int | None = None
        self.meanwhile: tuple[int, Callable[[], None]] | None = None
        self.store: Store | None = None
        self.acts = 0
        """How often somebody has acted."""
        self._hit = hit

    def burn(self) -> None:
        self._let_act()
        if self.left is None or self.store is None:
            return
        self.left -= 1
        if self.left <= 0:
            self.left = None
            self.store.conn.close()
            self._hit("process ended")
            raise Killed

    def _let_act(self) -> None:
        if self.meanwhile is None or self.store is None:
            return
        left, act = self.meanwhile
        idle = self.store.conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        self.meanwhile = None if left <= 1 and idle else (left - 1, act)
        if self.meanwhile is None:
            self._hit("people in the midst")
            self.acts += 1
            act()


class FragileStore(Store):
    """A store whose process may die before and after every commit."""

    def __init__(self, url: str, fuse: Fuse, *, dry_run: bool = False) -> None:
        super().__init__(url, dry_run=dry_run, run_id="story", sleep=lambda _: None)
        self._fuse = fuse
        fuse.store = self

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        with super().transaction() as conn:
            yield conn
            self._fuse.burn()
        self._fuse.burn()


class FragileCrm(MemoryCrm):
    """A client whose process may die between two pages and between a call's effect and its answer; it remembers
    the pages it read last, to repeat them, and of the records that were looked up in a run how often somebody had acted by then.

    fails: after so many more calls, one fails with this error, and had no effect. twice: the next page that is read comes
    twice. postpone: takes the operations of the next write, whose answer never comes; they take effect later.
    """

    def __init__(
        self,
        account: MemoryAccount,
        fuse: Fuse,
        hit: Callable[[str], None],
        *,
        name: str,
        knobs: Knobs,
    ) -> None:
        super().__init__(account, name=name, knobs=knobs)
        self.overlap = OVERLAP
        self.hit = hit
        self.fails: tuple[int, str, CrmError] | None = None
        self.twice = False
        self.postpone: Callable[[StreamSpec, Sequence[Operation]], bool] | None = None
        self.before_read_back: Callable[[Sequence[str]], bool] | None = None
        self.throttled = False
        self.unheeded = 0
        """Calls in a run after it was told that there are too many."""
        self.read: list[tuple[StreamSpec, Page]] = []
        self.looked: dict[str, int] = {}
        self._fuse = fuse

    def heal(self) -> None:
        """What was laid out and did not strike, never will."""
        self.faults.timeout = self.faults.read_error = None
        self.fails = self.postpone = self.before_read_back = None
        self.twice = False

    def _call(self, family: str, *, read: bool = False) -> None:
        self.unheeded += self.throttled
        if read and self.faults.read_error is not None:
            self.hit("read failed")
        if self.fails is not None:
            left, kind, error = self.fails
            self.fails = (left - 1, kind, error) if left > 1 else None
            if left <= 1:
                self._calls[family] += 1
                self.throttled = error.error_class is ErrorClass.RATE_LIMIT
                self.hit(kind)
                raise error
        super()._call(family, read=read)

    def changed(self, request: ReadRequest, job: JobLog) -> Iterator[Page]:  # type: ignore[override]
        for page in super().changed(request, job):
            self._fuse.burn()
            self.read.append((request.stream, page))
            yield page
            if self.twice:
                self.twice = False
                self.hit("page twice")
                yield page

    def by_ids(self, stream: StreamSpec, crm_ids: Sequence[str]) -> Iterator[BatchPage]:
        if self.before_read_back is not None and self.before_read_back(crm_ids):
            self.before_read_back = None
            self.hit("edit before read-back")
        self.looked |= dict.fromkeys(crm_ids, self._fuse.acts)
        yield from super().by_ids(stream, crm_ids)

    def write(
        self,
        stream: StreamSpec,
        operations: Sequence[Operation],
        job: JobLog,
        *,
        batch_size: int | None = None,
    ) -> Iterator[list[Result]]:
        self._fuse.burn()
        for results in super().write(stream, operations, job, batch_size=batch_size):
            self._fuse.burn()
            yield results

    def _send(
        self, stream: StreamSpec, operations: Sequence[Operation], results: list[Result]
    ) -> list[Result]:
        if self.postpone is not None and all(self.account.moved(stream, o) is None for o in operations):
            postpone, self.postpone = self.postpone, None
            if postpone(stream, operations):
                self._calls["write"] += 1
                self.hit("landed late")
                raise CrmError(ErrorClass.UNKNOWN_OUTCOME, f"{stream.name}: no answer yet")
        if self.faults.timeout is not None:
            self.hit(f"timed out {self.faults.timeout}")
        answered = super()._send(stream, operations, results)
        for _ in range(sum(not r.ok and r.key in self.faults.reject for r in answered)):
            self.hit("refused")
        return answered
