"""What the portal holds: records with the history of their values, unique values.

Here: keeping and finding. Not here: what a record is (records.py), HubSpot's rules about writing (writes.py), associations (links.py), HTTP.
Property values are kept as HubSpot shows them: text. A record's ``values`` dictionary is never changed in place, so the
search index can hold on to an older one (search.py).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, NamedTuple

from crm_sync.simulators.fault_plan import Plan
from crm_sync.simulators.hubspot.catalog import kinds
from crm_sync.simulators.hubspot.clock import DAY, Clock, iso
from crm_sync.simulators.hubspot.errors import invalid, not_found
from crm_sync.simulators.hubspot.index import Index, Pending
from crm_sync.simulators.hubspot.links import Links
from crm_sync.simulators.hubspot.pipeline import Pipeline, standard
from crm_sync.simulators.hubspot.records import FIRST_ID, Change, Live, Record, Seed, Unique
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.settings import Settings


class Source(NamedTuple):
    """Who writes: INTEGRATION with the app's id, or CRM_UI with ``userId:N``; ``version`` is that of the path."""

    kind: str
    id: str
    version: str = "v3"


@dataclass(slots=True)
class Table:
    """The records of one object type."""

    kind: Kind
    live: Live = field(default_factory=Live)
    archived: dict[int, Record] = field(default_factory=dict)
    merged: dict[int, int] = field(default_factory=dict)
    unique: dict[str, Unique] = field(default_factory=dict)
    next_id: int = FIRST_ID

    def __post_init__(self) -> None:
        for name in self.kind.unique_names():
            self.unique[name] = Unique()

    def plant(self, seed: Seed) -> None:
        """Begin with these records."""
        self.live.plant(seed)
        self.next_id = FIRST_ID + seed.count
        for name in self.unique:
            self.unique[name] = Unique(partial(seed.holder, name))

    def add_unique(self, name: str) -> None:
        """From now on the values of this property belong to one record each."""
        live = self.live
        records = live.values() if name in live.seed.names else live.own.values()
        self.unique[name] = taken = Unique()
        for record in records:
            if value := record.values.get(name):
                taken[value.lower()] = record.id

    def add(self, record: Record) -> None:
        self.live[record.id] = record

    def new_id(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def page(self, after: int, limit: int, *, archived: bool) -> tuple[list[Record], int | None]:
        """Up to ``limit`` records from id ``after`` on, and the id where the next page begins."""
        if not archived:
            return self.live.page(after, limit)
        rows = [self.archived[number] for number in sorted(self.archived) if number >= after]
        return (rows[:limit], rows[limit].id) if len(rows) > limit else (rows, None)


class Store:
    """The whole portal."""

    def __init__(self, seed: int, plan: Plan | None = None) -> None:
        self.plan = plan or Plan()
        self.settings = Settings()
        self.clock = Clock(self.settings)
        self.dice = Random(seed)
        self.portal_id = 24_000_000 + seed
        self.kinds: dict[str, Kind] = {}
        self.tables: dict[str, Table] = {}
        self.names: dict[str, Kind] = {}
        self.owners: dict[str, dict[str, Any]] = {}
        self.pipelines: dict[str, dict[str, Pipeline]] = standard(self.clock.now() - 600 * DAY)
        self.next_pipeline_id = 150_000_000
        self.next_custom_type = 3_400_000
        self.blocked_emails: set[str] = set()
        self.index = Index()
        self.searches: dict[bytes, tuple[int, list[int]]] = {}
        self.links = Links()
        self.link_limits: dict[tuple[str, str, int], int] = {}
        self.emit: Callable[[dict[str, Any]], None] = lambda _event: None
        self.stats: Counter[str] = Counter()
        self.base_url = ""
        for kind in kinds():
            self.add_kind(kind)
        self.links.define_standard({kind.name: kind.singular for kind in self.kinds.values()})

    def add_kind(self, kind: Kind) -> None:
        self.kinds[kind.name] = kind
        self.tables[kind.name] = Table(kind)
        for name in {kind.name, kind.singular, kind.type_id, kind.name.replace("_", "")}:
            self.names[name.lower()] = kind
        if kind.singular == "meeting_event":
            self.names["meeting"] = kind

    def kind(self, name: str) -> Kind:
        """The object type a path names: plural, singular or type id, in any letter case. Raises ApiError 400."""
        kind = self.names.get(name.lower())
        if kind is None:
            raise invalid(f"Unable to infer object type from: {name}")
        return kind

    def table(self, name: str) -> Table:
        return self.tables[self.kind(name).name]

    def active_owners(self) -> set[str]:
        return {owner for owner, about in self.owners.items() if not about["archived"]}

    def find(
        self, table: Table, key: str, id_property: str | None = None, *, archived: bool = False
    ) -> Record:
        """The record of this id, or of this value of a unique property. Raises ApiError 404 (400 for the property)."""
        record = self.look_up(table, key, id_property, archived=archived)
        if record is None:
            raise not_found("resource not found")
        return record

    def look_up(
        self, table: Table, key: str, id_property: str | None = None, *, archived: bool = False
    ) -> Record | None:
        """As ``find``, or None. A contact that was merged away resolves to the one that survived."""
        rows = table.archived if archived else table.live
        if id_property and id_property != "hs_object_id":
            if id_property not in table.unique:
                raise invalid(f"Property {id_property} is not a unique property of {table.kind.name}")
            if archived:
                wanted = key.strip().lower()
                return next(
                    (r for r in rows.values() if r.values.get(id_property, "").lower() == wanted), None
                )
            found = table.unique[id_property].get(key.strip().lower())
            return None if found is None else table.live.get(found)
        if not key.isascii() or not key.isdigit():
            return None
        number = int(key)
        if not archived and table.kind.name == "contacts":
            while number in table.merged:
                number = table.merged[number]
        return rows.get(number)

    def put(
        self, table: Table, record: Record, changes: dict[str, str], source: Source, at: int
    ) -> dict[str, str]:
        """Store values (``""`` empties), keep their history and the unique values, stamp, tell the index.

        Returns what was really different. Checks nothing.
        """
        old = record.values
        different = {name: value for name, value in changes.items() if old.get(name, "") != value}
        if different:
            trail = record.trail
            if trail is None:
                trail = record.trail = []
            recorded = {change.name for change in trail}
            for name, value in different.items():
                if name not in recorded and name in old:
                    trail.append(Change(record.created, name, old[name], *origin(record)))
                trail.append(Change(at, name, value, source.kind, source.id))
                if name in table.unique:
                    self._reindex(table, name, record.id, old.get(name), value)
        self.stamp(table, record, at, {**old, **different})
        return different

    def stamp(self, table: Table, record: Record, at: int, values: dict[str, str] | None = None) -> None:
        """Move the modification stamp (also for changes that are not in the record's own values)."""
        if record.archived is None:
            table.live[record.id] = record
        record.modified = max(at, record.modified)
        record.values = {n: v for n, v in (values or record.values).items() if v != ""}
        record.values[table.kind.modified] = iso(record.modified)
        self.to_index(table, record.id, record.values, record.modified)

    def to_index(self, table: Table, number: int, values: dict[str, str] | None, modified: int) -> None:
        late = self.plan.happens("index lag", table.kind.name)
        lag = self.settings.index_lag + (round(float(late["seconds"]) * 1000) if late is not None else 0)
        due = self.clock.now() + lag
        self.index.schedule(Pending(due, table.kind.name, number, values, modified))

    def moment(self) -> int:
        """The stamp of a write: now, or somewhat before by the plan of faults."""
        now = self.clock.now()
        return now - round(self.plan.seconds_before(now / 1000) * 1000)

    def claim(self, table: Table, record: Record) -> None:
        """Enter all unique values of a record that came (back) to life."""
        for name, taken in table.unique.items():
            value = record.values.get(name)
            if value:
                taken[value.lower()] = record.id
        if table.kind.name == "contacts":
            for email in emails_of(record):
                table.unique["email"][email] = record.id

    def release(self, table: Table, record: Record) -> None:
        """Free all unique values of a record that leaves."""
        for name, taken in table.unique.items():
            value = record.values.get(name)
            if value and taken.get(value.lower()) == record.id:
                del taken[value.lower()]
        if table.kind.name == "contacts":
            for email in emails_of(record):
                if table.unique["email"].get(email) == record.id:
                    del table.unique["email"][email]

    @staticmethod
    def _reindex(table: Table, name: str, number: int, old: str | None, new: str) -> None:
        taken = table.unique[name]
        if old and taken.get(old.lower()) == number:
            del taken[old.lower()]
        if new:
            taken[new.lower()] = number


def origin(record: Record) -> tuple[str, str]:
    """Where the values come from that a record was made with: source and its id."""
    values = record.values
    return values.get("hs_object_source", "CRM_UI"), values.get("hs_object_source_id", "userId:1")


def emails_of(record: Record) -> list[str]:
    """Primary and additional addresses of a contact."""
    more = record.values.get("hs_additional_emails", "")
    return [e for e in (record.values.get("email", ""), *more.split(";")) if e]
