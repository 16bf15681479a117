"""The guard around the steps: counts what a run would do before its first write, and stops it if that is too much.

Twice: one query over the marked records before the run begins, and, because applications go on writing meanwhile, the
values themselves right before they leave (`Brake`). What is stopped becomes a hold, in which a person looks at it.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from uuid import UUID

from psycopg import Connection

from crm_sync.core.errors import HeldBackError
from crm_sync.core.guard import ARCHIVED, Counts, Excess, What, is_empty, judge, sentence
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import guard as counting
from crm_sync.hub import holds
from crm_sync.hub.guard import FEW, Marked, Side
from crm_sync.hub.holds import Hold, Place
from crm_sync.hub.intents import Intent
from crm_sync.hub.store import Store
from crm_sync.steps.options import Options, Report


class _ExceededError(Exception):
    """More blanks, or deletions, than the guard lets pass are about to be written."""

    def __init__(
        self, what: What, rows: Sequence[tuple[str, UUID]], excess: Sequence[Excess], linked: int
    ) -> None:
        super().__init__(str(excess))
        self.what = what
        self.rows = rows
        self.excess = excess
        self.linked = linked


class Brake:
    """Looks at the blanks and deletions that are about to be written, and stops before one too many is. `top`: the newest mark that
    was counted; what is marked later waits for the next run. `only`: the records that a person asked for, without those
    that are held back."""

    def __init__(self, store: Store, stream: StreamSpec, *, on: bool, allowed: Sequence[int] = ()) -> None:
        self.top: int | None = None
        self.only: Sequence[UUID] | None = None
        self._store = store
        self._stream = stream
        self._on = on
        self._allowed = allowed
        self._seen: dict[tuple[What, str], set[UUID]] = {}
        self._linked: int | None = None

    def blanks(self, found: Iterable[tuple[str, UUID]]) -> None:
        """These fields of these hub records are about to lose their value, in hub or CRM."""
        self._count(What.BLANKS, found)

    def deletions(self, hub_ids: Iterable[UUID]) -> None:
        """These records are about to be deleted, in hub or CRM."""
        self._count(What.DELETIONS, (("", hub_id) for hub_id in hub_ids))

    def archivals(self, hub_ids: Iterable[UUID]) -> None:
        """These hub records are about to be archived, because the CRM has deleted them."""
        self._count(What.DELETIONS, ((ARCHIVED, hub_id) for hub_id in hub_ids))

    def _count(self, what: What, found: Iterable[tuple[str, UUID]]) -> None:
        if not self._on or what not in self._stream.guard.on:
            return
        rows = list(found)
        new: dict[str, set[UUID]] = {}
        for name, hub_id in rows:
            new.setdefault(name, set()).add(hub_id)
        for name, ids in new.items():
            seen = self._seen.setdefault((what, name), set())
            seen |= ids
            if self._allowed:
                seen -= holds.allowed(self._store.conn, self._allowed, what, name, list(ids))
        counts: Counts = {(what, name): len(self._seen[what, name]) for name in new}
        if judge(counts, 0, self._stream.guard):
            if self._linked is None:
                self._linked = counting.linked(self._store.conn, self._stream, before=True)
            excess = judge(counts, self._linked, self._stream.guard)
            if excess:
                names = {one.field for one in excess}
                rows = [row for row in rows if row[0] in names]
                raise _ExceededError(what, rows, excess, self._linked)


def blanked(planned: Iterable[Intent]) -> Iterator[tuple[str, UUID]]:
    """Field and record of every value that these writes would remove from the CRM, a person's decisions apart."""
    for intent in planned:
        if intent.kind == "update":
            for name, value in intent.sent.items():
                if value is None and intent.old_values.get(name) is not None and not _decided(intent, name):
                    yield name, intent.hub_id


def _decided(intent: Intent, name: str) -> bool:
    reason = intent.reasons.get(name, "")
    return reason.startswith("decided by ") and not reason.startswith("decided by auto_resolve ")


def stop_if_held(
    store: Store, stream: StreamSpec, side: Side, options: Options, report: Report, *, limits: bool = True
) -> list[Hold]:
    """Raise HeldBackError if something of the stream is held back that forbids to write to `side`: while the CRM's values
    wait for a person, ours do not go out either (if `limits`). Returns the open holds. A dry run only notes."""
    found = holds.of_stream(store.conn, stream)
    for hold in found:
        if hold.cause != "limits" or (limits and side == "crm" and hold.side == "hub"):
            if not options.dry_run:
                raise held_back(hold.stream, hold.sentence, hold.id)
            report.notes.append(f"guard: {hold.sentence} (hold {hold.id})")
    return found


@contextmanager
def guarding(
    store: Store,
    stream: StreamSpec,
    side: Side,
    options: Options,
    report: Report,
    *,
    only: Sequence[UUID] | None = None,
) -> Iterator[Brake]:
    """The block writes to `side` what the marked records of `stream` need; it begins if the guard lets it.

    `only`: a person asked for these records; there are no limits then, but what holds the whole stream holds them too,
    and those that a hold is about wait on: `Brake.only` are the others.
    A dry run goes on, and notes what the guard would say. Raises HeldBackError, with nothing written.
    """
    found = stop_if_held(store, stream, side, options, report, limits=only is None)
    place = Place.of(stream, "limits", side)
    if only is not None or stream.guard.least is None:
        brake = Brake(store, stream, on=False)
        brake.only = only if only is None else _not_held(store, stream, only, report)
        yield brake
        return
    allowed = [hold.id for hold in holds.confirmed(store.conn, place)]
    brake = Brake(store, stream, on=not options.dry_run, allowed=allowed)
    brake.top = _check(store, stream, place, options, report, found, allowed)
    try:
        yield brake
    except _ExceededError as error:
        number = store.committed(partial(_stopped, place, error, store.run_id))
        raise held_back(stream.name, sentence(error.excess, error.linked), number, begun=True) from None
    if allowed and not options.dry_run:
        top, force = brake.top, options.force
        store.committed(lambda conn: _strike_off(conn, stream, side, top, allowed, force=force))


def _stopped(place: Place, error: _ExceededError, run_id: str | None, conn: Connection) -> int:
    """The hold of a run that has begun; its number."""
    holds.stage(conn, [(error.what, name, hub_id) for name, hub_id in error.rows])
    return _open(conn, place, error.excess, error.linked, run_id)


def _strike_off(
    conn: Connection, stream: StreamSpec, side: Side, top: int, allowed: Sequence[int], *, force: bool
) -> None:
    """Of what was confirmed, keep what this run did not come to (`max_records`, a row that an application holds)."""
    marks = replace(counting.marked(conn, stream, FEW + 1), top=top)
    keys = [(What(kind), name) for kind, name in holds.kinds(conn, allowed)]
    counting.select(conn, stream, side, marks, stream.guard, keys, force=force)
    holds.strike_off(conn, allowed)


def _not_held(store: Store, stream: StreamSpec, only: Sequence[UUID], report: Report) -> Sequence[UUID]:
    held = holds.waiting(store.conn, stream, only)
    if held:
        report.notes.append(f"guard: {len(held)} of these records are held back and wait on")
    return [hub_id for hub_id in only if hub_id not in held]


def _check(
    store: Store,
    stream: StreamSpec,
    place: Place,
    options: Options,
    report: Report,
    found: Sequence[Hold],
    allowed: Sequence[int],
) -> int:
    """Count beforehand; returns the version of the newest mark that was counted."""
    side: Side = "hub" if place.side == "hub" else "crm"
    marks = counting.marked(store.conn, stream, max(stream.guard.least or 0, FEW) + 1)
    excess, linked = _excess(store, stream, side, marks, force=options.force)

    def held(conn: Connection) -> tuple[list[Excess], int]:
        """What is beyond the limits without what was confirmed, and the hold's number; 0 in a dry run, or without any."""
        keys = [(one.what, one.field) for one in excess]
        counts = counting.select(
            conn, stream, side, marks, stream.guard, keys, force=options.force, except_holds=allowed
        )
        rest = judge(counts, linked, stream.guard)
        number = _open(conn, place, rest, linked, store.run_id) if rest and not options.dry_run else 0
        return rest, number

    excess, number = store.committed(held) if excess else (excess, 0)
    if number:
        raise held_back(stream.name, sentence(excess, linked), number)
    if excess:
        report.notes.append(f"guard: this would be held back: {sentence(excess, linked)}")
    if not options.dry_run and any(hold.cause == "limits" and hold.side == side for hold in found):
        store.committed(lambda conn: holds.withdraw(conn, place))
    return marks.top


def _excess(
    store: Store, stream: StreamSpec, side: Side, marks: Marked, *, force: bool
) -> tuple[list[Excess], int]:
    """What goes beyond the limits, and how many records are linked (0 if nobody had to know). Nothing that was confirmed
    is taken off yet. Most runs end here without a look at any record: so few are marked."""
    guard = stream.guard
    if marks.number <= (guard.least or 0):
        return [], 0
    counts = counting.count(store.conn, stream, side, marks, guard, force=force)
    if not judge(counts, 0, guard):
        return [], 0
    linked = counting.linked(store.conn, stream, before=True)
    return judge(counts, linked, guard), linked


def _open(conn: Connection, place: Place, excess: Sequence[Excess], linked: int, run_id: str | None) -> int:
    would = {f"{one.what} {one.field}".strip(): one.number for one in excess}
    return holds.open_(conn, place, sentence(excess, linked), would, run_id, selected=True)


def full_read(store: Store, stream: StreamSpec, read: int, options: Options, report: Report) -> None:
    """A full read has brought so many records: what follows from what it did not bring may follow.

    Raises HeldBackError if that is far less than what is linked: rather a fault of the CRM, or of our user's
    permissions, than that many deletions."""
    conn = store.conn
    place = Place.of(stream, "empty", "both")
    linked = counting.linked(conn, stream)
    confirmed = holds.confirmed(conn, place)
    if is_empty(read, linked) and not any(read >= hold.would["read"] for hold in confirmed):
        said = (
            f"a full read brought {read:,} records, but {linked:,} are linked: rather a fault, a filter or a missing"
            " permission than so many deletions"
        )
        if options.dry_run:
            report.notes.append(f"guard: this would be held back: {said}")
            return
        number = store.committed(lambda conn: holds.open_(conn, place, said, {"read": read}, store.run_id))
        raise held_back(stream.name, said, number, again="mend it and run the sync again with --full, or, ")
    if not options.dry_run and (confirmed or any(h.cause == "empty" for h in holds.of_stream(conn, stream))):
        store.committed(lambda conn: _came_back(conn, place, [hold.id for hold in confirmed]))


def _came_back(conn: Connection, place: Place, passed: Sequence[int]) -> None:
    """A full read brought enough: nothing is held back for that any more."""
    holds.withdraw(conn, place)
    holds.done(conn, passed)


def held_back(what: str, said: str, number: int, *, begun: bool = False, again: str = "") -> HeldBackError:
    """The error that says what was held back, and how to let it through."""
    when = "stopped" if begun else "held back, nothing was written"
    return HeldBackError(
        f"{what}: {when}: {said}. Look at it: crm-sync guard list;"
        f" {again}if it is meant: crm-sync guard confirm {number}"
    )
