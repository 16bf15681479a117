"""Which way operations go: little by Collections, much by a bulk job; and the look at the records before they go.

Here: the choice of the way, and `Look`. What is sent is in collections.py and bulk_ingest.py.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from crm_sync.connectors import unmoved
from crm_sync.connectors.ahead import ahead
from crm_sync.connectors.crm import JobLog, Operation, Result
from crm_sync.connectors.salesforce import bulk_ingest, collections, lookup, prepare, query
from crm_sync.connectors.salesforce.api import Api
from crm_sync.connectors.salesforce.prepare import Target
from crm_sync.connectors.salesforce.soql import Selection
from crm_sync.core.spec import StreamSpec

SIDE_BY_SIDE = 3  # looks


class Look:
    """The records of updates as they are right now, 2,000 a call."""

    def __init__(self, api: Api, stream: StreamSpec, select: Callable[[StreamSpec], Selection]) -> None:
        self._api = api
        self._stream = stream
        self._select = select
        self._types = unmoved.types_of(stream)

    def sift(self, operations: Sequence[Operation]) -> tuple[Sequence[Operation], list[Result]]:
        """The operations that may be sent, and the results of those whose records have moved. CrmError if nobody
        can say."""
        wanted = unmoved.compared(operations)
        if not wanted:
            return operations, []
        now: dict[str, Mapping[str, str | None]] = {}
        stream = unmoved.narrowed(self._stream, unmoved.fields_of(wanted))
        ids = [operation.crm_id or "" for operation in wanted]
        for found in self._api.as_described(stream.object, lambda: self._read(stream, ids)):
            now |= found
        return unmoved.sifted(self._types, operations, now)

    def _read(self, stream: StreamSpec, ids: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        selection = self._select(stream)

        def some(part: Sequence[str]) -> Mapping[str, Any]:
            return unmoved.shown(query.batch(selection, lookup.retrieve(self._api, selection, part)))

        tasks = (partial(some, part) for part in lookup.parts(ids, lookup.RETRIEVE))
        yield from ahead(tasks, threads=SIDE_BY_SIDE, most=SIDE_BY_SIDE)


class Writer:
    """Sends operations to one target. `above`: so many of a kind go by Collections at most; more of them by bulk jobs.
    `look`: at the records of updates before they are sent, None to spare the calls."""

    def __init__(self, api: Api, target: Target, above: int, look: Look | None) -> None:
        self._api = api
        self._target = target
        self._above = above
        self._look = look

    def write(
        self, operations: Sequence[Operation], job: JobLog, batch_size: int | None
    ) -> Iterator[list[Result]]:
        """One list of results an answer; what is small goes first."""
        ready, refused = prepare.split(self._target, operations)
        if refused:
            yield refused
        bulk: list[list[Operation]] = []
        for group in _by_kind(ready):
            # Without an external id nothing in a bulk result would tell which create a row belongs to.
            joinable = group[0].kind != "create" or self._target.external_id is not None
            small = group
            if joinable and len(group) > self._above:
                fits = [(operation, prepare.fits_bulk(operation)) for operation in group]
                bulk.append([operation for operation, fit in fits if fit])
                small = [operation for operation, fit in fits if not fit]
            yield from self._by_collections(small, batch_size or collections.CALL)
        rows = max(batch_size or bulk_ingest.JOB_ROWS, 10_000)
        for group in bulk:
            yield from self._by_jobs(group, job, rows)

    def _by_collections(self, group: Sequence[Operation], size: int) -> Iterator[list[Result]]:
        """As many between two looks as one call can look at: they are soon sent."""
        arranged = prepare.by_parent(self._target, group)
        at_once = lookup.RETRIEVE if self._looks(group) else len(group) or 1
        for part in lookup.parts(arranged, at_once):
            left, moved = self._sift(part)
            if left:
                yield from collections.send(self._api, self._target, left, size)
            if moved:  # told only now: whoever is told may take his time before he asks for more
                yield moved

    def _by_jobs(self, group: Sequence[Operation], job: JobLog, rows: int) -> Iterator[list[Result]]:
        if group:
            yield from bulk_ingest.send(
                self._api, self._target, group, job, rows, self._sift, self._once_more
            )

    def _once_more(self, locked: Sequence[Operation]) -> Iterator[list[Result]]:
        """What a job could not lock, a while after its look: few at a time, and looked at again."""
        yield from self._by_collections(locked, collections.CALL // 4)

    def _looks(self, group: Sequence[Operation]) -> bool:
        return self._look is not None and bool(unmoved.compared(group))

    def _sift(self, part: Sequence[Operation]) -> tuple[Sequence[Operation], list[Result]]:
        """What may be sent, and the results of what has moved."""
        return (part, []) if self._look is None else self._look.sift(part)


def _by_kind(operations: Sequence[Operation]) -> Iterator[list[Operation]]:
    order = ("create", "update", "delete")
    arranged = sorted(operations, key=lambda operation: order.index(operation.kind))
    for _, group in groupby(arranged, key=lambda operation: operation.kind):
        yield list(group)
