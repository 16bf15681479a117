"""The records behind `MemoryCrm`: one account in dictionaries, what people do in it, and its rules for writes.

Here belong the behaviours that the engine must survive: stamps in whole seconds, rows that become visible late,
values that the CRM rewrites, required, read-only, unique and restricted fields. How a client reads and writes,
and what goes wrong on the way, is in `memory.py`. Vendor fields and their values are as the port spells them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import count

from crm_sync.connectors import unmoved
from crm_sync.connectors.crm import CONVERTED, FieldInfo, Operation, Result, Window
from crm_sync.core.errors import ErrorClass, RecordError
from crm_sync.core.spec import Condition, Operator, StreamSpec

RECORD_TYPE = "record_type"  # pseudo-field that holds a record's type
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Values = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One state of one record; `visible_at` is when listings by modification time begin to show it."""

    id: str
    values: Values
    modified: datetime
    visible_at: datetime
    deleted: bool = False
    merged_into: str | None = None
    became: Sequence[str | None] = ()  # contact, company and deal of a converted lead


@dataclass(slots=True)
class Habits:
    """How an account treats its records; every habit may change at any time.

    granularity: resolution of the stamps. lag: how much later than its stamp a change shows up in listings by
    modification time (never in look-ups by id). normalisers: how a field's values are rewritten. hidden: fields
    that clients may not see. upserts: a create with a known external id updates that record.
    """

    granularity: timedelta = timedelta(milliseconds=1)
    lag: timedelta = timedelta()
    normalisers: Mapping[str, Callable[[str], str | None]] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    upserts: bool = True


class MemoryAccount:
    """Records by object. `clock` gives aware datetimes. `fields` describes objects; without it,
    there is every object with every field. Ids are `<object>-<number>`, numbered in order of creation. `written` lists (object, operation)
    for each operation of a client that took effect, in order."""

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        fields: Mapping[str, Sequence[FieldInfo]] | None = None,
        habits: Habits | None = None,
    ) -> None:
        self.clock = clock
        self.habits = habits or Habits()
        self.fields = {name: {info.name: info for info in infos} for name, infos in (fields or {}).items()}
        self.written: list[tuple[str, Operation]] = []
        self._versions: dict[str, dict[str, list[Row]]] = {}
        self._ids = count(1)

    # What people do in the CRM's own pages. Nothing is refused to them.

    def person_create(self, object_name: str, values: Values) -> str:
        """A person enters a record; returns its id."""
        return self._put(object_name, self._new_id(object_name), self._rewritten(values)).id

    def person_edit(self, object_name: str, crm_id: str, values: Values) -> None:
        """A person changes some fields of a record. KeyError if it was never there."""
        self._put(object_name, crm_id, {**self.row(object_name, crm_id).values, **self._rewritten(values)})

    def person_delete(self, object_name: str, crm_id: str) -> None:
        """A person deletes a record, and references to it are blank. KeyError if it was never there."""
        self._put(object_name, crm_id, self.row(object_name, crm_id).values, deleted=True)

    def person_purge(self, object_name: str, crm_id: str) -> None:
        """A record is gone without a trace. KeyError if it was never there."""
        del self._versions[object_name][crm_id]

    def person_restore(self, object_name: str, crm_id: str) -> None:
        """A person takes a record out of the recycle bin. KeyError if it was never there."""
        self._put(object_name, crm_id, self.row(object_name, crm_id).values)

    def person_merge(self, object_name: str, winner: str, loser: str) -> None:
        """A person merges two records: the winner keeps its id and values and gains those it had none of, except
        unique ones; references to the loser then point to it. KeyError if one was never there."""
        kept, lost = self.row(object_name, winner).values, self.row(object_name, loser).values
        self._put(object_name, loser, lost, deleted=True, merged_into=winner)
        unique = {info.name for info in self.fields.get(object_name, {}).values() if info.unique}
        gained = {n: v for n, v in lost.items() if n not in unique and v != winner and kept.get(n) is None}
        self._put(object_name, winner, {**kept, **gained})

    def person_convert(
        self, object_name: str, lead: str, contact: str, company: str | None = None, deal: str | None = None
    ) -> None:
        """A person converts a lead into these records, which they have made or chosen. From then on clients cannot
        update the lead. KeyError if it was never there."""
        self._put(object_name, lead, self.row(object_name, lead).values, became=(contact, company, deal))

    # What is there.

    def row(self, object_name: str, crm_id: str) -> Row:
        """The record as it is now, deleted or not. KeyError if it was never there."""
        return self._versions.get(object_name, {})[crm_id][-1]

    def rows(self, object_name: str) -> list[Row]:
        """All records of an object that are not deleted, in order of creation."""
        current = (versions[-1] for versions in self._versions.get(object_name, {}).values())
        return [row for row in current if not row.deleted]

    def listed(self, object_name: str, window: Window) -> Iterator[Row]:
        """The records modified in the window, deleted ones included, as an index that lags behind shows them."""
        now = self.clock()
        for versions in self._versions.get(object_name, {}).values():
            row = next((row for row in reversed(versions) if row.visible_at <= now), None)
            if row is None or (window.start is not None and row.modified < window.start):
                continue
            if window.end is None or row.modified < window.end:
                yield row

    def fields_of(self, object_name: str) -> dict[str, FieldInfo] | None:
        """The fields a client may see, by name; None if the object accepts every field."""
        known = self.fields.get(object_name)
        return known and {name: info for name, info in known.items() if name not in self.habits.hidden}

    # What clients do.

    def moved(self, stream: StreamSpec, operation: Operation) -> Result | None:
        """The result of an update whose record says something else than expected; None if it may be applied."""
        row = self._target(stream, operation)
        names = () if row is None or row.deleted else operation.expected.keys() - self.habits.hidden
        now = {name: row.values.get(name) for name in names} if row else {}
        return unmoved.moved(unmoved.types_of(stream), operation, now)

    def apply(self, stream: StreamSpec, operation: Operation) -> Result:
        """Carry out one operation, or say why not. The result holds values and stamp as they are afterwards."""
        row, values = self._target(stream, operation), dict(operation.values)
        if operation.kind == "create":
            values = {**stream.constants, **values}
            if stream.external_id is not None:
                values[stream.external_id] = operation.key
        values = self._rewritten(values)
        error = self._refusal(stream.object, operation, row, values)
        if error is not None:
            return Result.refused(operation, error)
        before = row.values if row else {RECORD_TYPE: stream.record_type}
        now = self._put(
            stream.object,
            row.id if row else self._new_id(stream.object),
            {**before, **values},
            deleted=operation.kind == "delete",
        )
        self.written.append((stream.object, operation))
        result = Result(operation.key, ok=True, crm_id=now.id, created=row is None)
        if operation.kind == "delete":
            return result
        return replace(result, returned={n: now.values[n] for n in values}, modified_at=now.modified)

    def _target(self, stream: StreamSpec, operation: Operation) -> Row | None:
        if operation.kind != "create":
            versions = self._versions.get(stream.object, {}).get(operation.crm_id or "", [None])
            return versions[-1]
        name = stream.external_id
        if name is None or not self.habits.upserts:
            return None
        return next((row for row in self.rows(stream.object) if row.values.get(name) == operation.key), None)

    def _refusal(
        self, object_name: str, operation: Operation, row: Row | None, values: Values
    ) -> RecordError | None:
        shut = _shut(object_name, operation, row)
        if shut is not None:
            return shut
        known = self.fields_of(object_name)
        if operation.kind == "delete" or known is None:
            return None
        for name, value in values.items():
            info = known.get(name)
            if info is None or not (info.updateable if row else info.createable):
                return RecordError(
                    ErrorClass.PERMISSION, "NOT_WRITABLE", f"{name} cannot be written", (name,)
                )
            if value is not None and (error := self._bad_value(object_name, info, value, row)):
                return error
        required = [info.name for info in known.values() if info.required]
        missing = [name for name in required if (name in values or row is None) and values.get(name) is None]
        if missing:
            text = f"required: {', '.join(missing)}"
            return RecordError(ErrorClass.VALIDATION, "REQUIRED", text, tuple(missing))
        return None

    def _bad_value(
        self, object_name: str, info: FieldInfo, value: str, row: Row | None
    ) -> RecordError | None:
        def taken() -> bool:
            others = (other for other in self.rows(object_name) if row is None or other.id != row.id)
            return any(other.values.get(info.name) == value for other in others)

        if info.max_length is not None and len(value) > info.max_length:
            code, text = "TOO_LONG", f"{info.name}: {len(value)} characters, {info.max_length} are allowed"
        elif info.options is not None and any(part not in info.options for part in value.split(";")):
            code, text = "NOT_AN_OPTION", f"{info.name}: a value that is not among its options"
        elif info.unique and taken():
            code, text = "DUPLICATE", f"{info.name}: another record has this value"
        else:
            return None
        return RecordError(ErrorClass.VALIDATION, code, text, (info.name,))

    def _rewritten(self, values: Values) -> dict[str, str | None]:
        rules = self.habits.normalisers
        return {n: (rules[n](v) if v and n in rules else v) or None for n, v in values.items()}

    def _new_id(self, object_name: str) -> str:
        return f"{object_name}-{next(self._ids):08d}"

    def _refer(self, crm_id: str, now: str | None) -> None:
        """References to this record are to another one from now on, or blank."""
        for other, infos in self.fields.items():
            for name in (info.name for info in infos.values() if info.vendor_type == "reference"):
                for row in [row for row in self.rows(other) if row.values.get(name) == crm_id]:
                    self.person_edit(other, row.id, {name: now})

    def _put(
        self,
        object_name: str,
        crm_id: str,
        values: Values,
        *,
        deleted: bool = False,
        merged_into: str | None = None,
        became: Sequence[str | None] = (),
    ) -> Row:
        versions = self._versions.setdefault(object_name, {}).setdefault(crm_id, [])
        now = self.clock().astimezone(UTC)
        # An index shows changes of one record in their order, also when the lag has become shorter.
        visible_at = max([now + self.habits.lag, *(row.visible_at for row in versions[-1:])])
        modified = now - (now - EPOCH) % self.habits.granularity
        became = became or (versions[-1].became if versions else ())
        row = Row(crm_id, dict(values), modified, visible_at, deleted, merged_into, became)
        versions.append(row)
        if deleted:
            self._refer(crm_id, merged_into)
        return row


def converted(rows: Sequence[Row]) -> dict[str, list[str | None]]:
    """Columns that tell what leads have become; none if there is no converted lead among the records."""
    if not any(row.became for row in rows):
        return {}
    return {name: [row.became[i] if row.became else None for row in rows] for i, name in enumerate(CONVERTED)}


def _shut(object_name: str, operation: Operation, row: Row | None) -> RecordError | None:
    """Why nothing can be written to a record any more."""
    if operation.kind != "create" and (row is None or row.deleted):
        return RecordError(ErrorClass.GONE, "DELETED", f"{object_name} {operation.crm_id} is not there")
    if operation.kind != "delete" and row is not None and row.became:
        return RecordError(ErrorClass.VALIDATION, "CONVERTED", f"{object_name} {row.id} is a converted lead")
    return None


def stamp(moment: datetime) -> str:
    """`2026-01-02T03:04:05.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def holds(condition: Condition, value: str | None) -> bool:
    """Whether a record whose field has `value` fulfils the condition. A blank fulfils neither `eq`, `in` nor a
    comparison. Numbers compare as numbers, anything else as text."""
    match condition.operator:
        case Operator.IS_BLANK | Operator.IS_NOT_BLANK:
            return (value is None) == (condition.operator is Operator.IS_BLANK)
        case Operator.EQ | Operator.IN:
            return value in condition.values
        case Operator.NEQ | Operator.NOT_IN:
            return value not in condition.values
    return value is not None and _order(value, condition.values[0]) in _ORDERS[condition.operator]


_ORDERS = {Operator.LT: {-1}, Operator.LTE: {-1, 0}, Operator.GT: {1}, Operator.GTE: {0, 1}}


def _order(a: str, b: str) -> int:
    try:
        x, y = Decimal(a), Decimal(b)
        return (x > y) - (x < y)
    except InvalidOperation:
        return (a > b) - (a < b)
