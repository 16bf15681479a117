"""Sending plans: intents first, then the calls, then the answers; the next plan is made while a vendor is at work.

    plan 1 ─ intents ─ begin ─ ─ ─ (the vendor's job runs) ─ ─ ─ answers recorded
                          plan 2 ─ intents ─ ─ ─ ─ ─ ─ ─ ─ begin ─ ─ ...

A vendor is at work when its job runs, or when the last of many calls are on their way.

Everything here happens in the thread that owns the database connection; connectors have threads of their own for
calls side by side. Of two parcels the second is started when the vendor has ended the first, so two jobs never fight
for the same parent's lock, and the first one's answers are recorded while the second is worked on.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Self
from uuid import UUID

from psycopg import Connection

from crm_sync.connectors.crm import Crm, Operation, Result
from crm_sync.core.errors import afterwards
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import intents, merges, parked, watermark
from crm_sync.hub.dirty import Entry
from crm_sync.hub.intents import Intent
from crm_sync.hub.store import Store
from crm_sync.steps.answers import READ_BACK, Answers
from crm_sync.steps.merges import MERGE_WAITS
from crm_sync.steps.planning import Plan, settle


@dataclass(slots=True)
class _Parcel:
    """A plan on its way. heard: answers that came while it was waited for. at_work: whether the vendor has all of it and
    has not answered yet."""

    entries: Sequence[Entry]
    made: Plan
    incomplete: frozenset[UUID]
    operations: list[Operation] = field(default_factory=list)
    answers: Iterator[list[Result]] = field(default_factory=lambda: iter(()))
    heard: list[list[Result]] = field(default_factory=list)
    at_work: bool = False

    def spoken(self) -> Iterator[list[Result]]:
        """Answers until the vendor is at work by itself, which `at_work` then says."""
        heard, self.heard = self.heard, []
        for answer in chain(heard, self.answers):
            self.at_work = not answer
            if self.at_work:
                return
            yield answer

    def wait(self) -> None:
        """Until the vendor has ended its job (or everything was answered)."""
        for answer in self.answers:
            if answer:
                self.heard.append(answer)
                return


class Jobs:
    """The vendor's jobs of this stream that are under way, one state for each parcel, in `sync.job`."""

    def __init__(self, store: Store, stream: StreamSpec) -> None:
        self._job = watermark.Job(store, stream, "outbound")
        self._states: dict[int, Mapping[str, Any]] = {}
        self._number = 0

    def states(self) -> list[Mapping[str, Any]]:
        """What an earlier run has left, oldest first."""
        state = self._job.load()
        return [] if state is None else list(state["jobs"])

    def another(self) -> "JobOfParcel":
        """The log for one more write."""
        self._number += 1
        return JobOfParcel(self, self._number)

    def put(self, number: int, state: Mapping[str, Any] | None) -> None:
        """Note the state of a write's job, None when it has ended. Durable when this returns."""
        if state is None and number not in self._states:
            return
        if state is None:
            del self._states[number]
        else:
            self._states[number] = state
        if self._states:
            self._job.save({"jobs": list(self._states.values())})
        else:
            self._job.clear()

    def forget(self) -> None:
        """None is under way any more."""
        self._states.clear()
        if self._job.load() is not None:
            self._job.clear()


class JobOfParcel:
    """A `JobLog` for one write among several."""

    def __init__(self, jobs: Jobs, number: int) -> None:
        self._jobs = jobs
        self._number = number

    def save(self, state: Mapping[str, Any]) -> None:
        self._jobs.put(self._number, state)

    def clear(self) -> None:
        self._jobs.put(self._number, None)


class Sender:
    """Sends plans of one stream. As a context manager it records, at the end of the block, what is still under way."""

    def __init__(
        self, store: Store, crm: Crm, stream: StreamSpec, answers: Answers, batch_size: int | None
    ) -> None:
        self.jobs = Jobs(store, stream)
        self._store = store
        self._crm = crm
        self._stream = stream
        self._answers = answers
        self._batch_size = batch_size
        self._under_way: _Parcel | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.finish()
        elif self._under_way is not None:
            _close(self._under_way)

    def send(self, entries: Sequence[Entry], made: Plan) -> None:
        """Send a plan. If the vendor works on it by itself, the answers are recorded later (at the latest by
        `finish`); else all are recorded when this returns."""
        parcel = _Parcel(entries, made, frozenset(made.incomplete))
        self._intend(parcel)
        if not parcel.operations:
            self._settle(parcel)
            return
        before = self._under_way
        if before is not None:
            before.wait()
        self._under_way = None
        try:
            self._send_after(before, parcel)
        except BaseException:
            _close(parcel)
            raise

    def _send_after(self, before: _Parcel | None, parcel: _Parcel) -> None:
        """A large parcel begins before the answers of the last one are recorded; a small one is sent in one go, so that
        no time passes between the look at its records and the calls."""
        if before is not None and len(parcel.operations) <= READ_BACK:
            self._record(before)
            before = None
        with nullcontext() if before is None else afterwards(partial(self._record, before)):
            self._begin(parcel)
        self._note(parcel, parcel.spoken())
        if parcel.at_work:
            self._under_way = parcel
        else:
            self._settle(parcel)

    def finish(self) -> None:
        """Record what is still under way."""
        parcel, self._under_way = self._under_way, None
        if parcel is not None:
            self._record(parcel)

    def _intend(self, parcel: _Parcel) -> None:
        """Commit the intents, while the vendor may still be at work on another parcel."""
        made = parcel.made

        def intended(conn: Connection) -> None:
            intents.note(conn, self._stream, made.intents, self._store.run_id)
            sent = {i.hub_id for i in made.intents}  # why they waited is known until the CRM has answered
            looked_at = map(str, made.looked_at - made.after - sent)
            parked.replace(conn, self._stream, "hub", looked_at, made.refused, self._store.run_id)
            merge_waits = [p.hub_id for p in made.refused if p.code == MERGE_WAITS and p.hub_id is not None]
            if merge_waits:
                merges.ask_again(conn, self._stream, merge_waits, self._store.run_id)

        self._store.committed(intended)
        parcel.operations = operations_of(self._stream, made.intents)
        made.intents = []  # they are in the database

    def _begin(self, parcel: _Parcel) -> None:
        """Let the vendor begin."""
        calls = self._crm.write(
            self._stream, parcel.operations, self.jobs.another(), batch_size=self._batch_size
        )
        parcel.answers = self._store.fenced(calls)
        parcel.heard = [answer for answer in (next(parcel.answers, None),) if answer is not None]

    def _record(self, parcel: _Parcel) -> None:
        """Record all answers."""
        try:
            self._note(parcel, chain(parcel.heard, parcel.answers))
        finally:
            _close(parcel)
        self._settle(parcel)

    def _note(self, parcel: _Parcel, answers: Iterable[list[Result]]) -> None:
        parcel.made.open |= self._answers.record_all(parcel.operations, answers, parcel.incomplete)

    def _settle(self, parcel: _Parcel) -> None:
        parcel.made.open |= parcel.made.after
        self._store.committed(lambda conn: settle(conn, self._stream, parcel.entries, parcel.made))


def operations_of(stream: StreamSpec, planned: Iterable[Intent]) -> list[Operation]:
    """What a connector is asked to do."""
    theirs = {spec.name: spec.vendor.name for spec in stream.fields}
    made = []
    for i in planned:
        if i.kind == "create":
            given = {theirs[name]: value for name, value in i.sent.items() if value is not None}
            made.append(Operation(str(i.hub_id), "create", None, {**stream.constants, **given}))
        elif i.kind == "delete":
            made.append(Operation(str(i.hub_id), "delete", i.crm_id, {}))
        else:
            values = {theirs[name]: value for name, value in i.sent.items()}
            seen = {theirs[name]: i.old_values[name] for name in i.sent if name in i.old_values}
            made.append(Operation(str(i.hub_id), "update", i.crm_id, values, seen))
    return made


def _close(parcel: _Parcel) -> None:
    """End the calls: no thread of the connector's is left running."""
    close = getattr(parcel.answers, "close", None)
    if close is not None:
        with suppress(RuntimeError):
            close()
