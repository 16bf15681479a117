"""The stages of the benchmark, ours beside the floor, for one vendor and one size.

Both sides work on the same simulated account and in the same database, one after the other, and take turns in being
first. Each checks what it counted: a stage that did not do its work is an error, not a fast result.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg import Connection, sql

from benchmarks.figures import (
    MERGED,
    OUTBOUND,
    STAGED,
    Row,
    Sample,
    least_changed,
    least_full,
    least_written,
)
from benchmarks.floor_hubspot import HubSpotFloor
from benchmarks.floor_salesforce import SalesforceFloor
from benchmarks.ground import place
from benchmarks.meter import Meter
from benchmarks.ours import Ours
from benchmarks.place import Place
from benchmarks.worker import Open, Worker

FLOORS: dict[str, Open] = {"salesforce": SalesforceFloor, "hubspot": HubSpotFloor}
BARE_STAGED = "first read, staged ÷ bare COPY"
BARE_MERGED = "first read, merged ÷ bare COPY"
FULL_STAGED = "first read, staged"
FULL_MERGED = "first read, merged"
CREATE = "creates in an empty CRM"
CREATE_SQL = "creates ÷ (calls + plain SQL)"


def inbound_steps(changes: int) -> tuple[str, str]:
    """What the incremental inbound stages are called."""
    what = f"{changes:,} changed in the CRM" if changes else "nothing changed"
    return f"{what}, staged", f"{what}, merged"


@dataclass(slots=True)
class Sides:
    """The two processes, the account they work on, and what comes of it. done: called after each pair. profiles:
    seconds and text by stage, where asked for."""

    meter: Meter
    ours: Worker
    floor: Worker
    server_url: str
    size: int
    repeats: int
    profile: bool = False
    done: Callable[[str], None] = lambda _: None
    rows: dict[str, Row] = field(default_factory=dict)
    profiles: dict[str, tuple[float, str]] = field(default_factory=dict)

    @property
    def vendor(self) -> str:
        return self.meter.vendor

    def row(self, stage: str, changed: int, aim: float | None, least: int | None) -> Row:
        """The row of a stage, made when it is first asked for."""
        return self.rows.setdefault(stage, Row(self.vendor, self.size, stage, changed, aim, least))

    @contextmanager
    def fresh(self, name: str) -> Iterator[tuple[Place, Connection]]:
        """A new database, opened by both sides."""
        full = f"crm_sync_bench_{self.vendor}_{name}"
        with (
            place(self.server_url, self.vendor, self.meter.simulator, full) as found,
            found.connect() as conn,
        ):
            self.ours.open(Ours, found)
            self.floor.open(FLOORS[self.vendor], found)
            try:
                yield found, conn
            finally:
                self.ours.shut()
                self.floor.shut()

    def take_turns(self, turn: int, ours: Callable[[], None], floor: Callable[[], None]) -> None:
        """Both, the floor first in every even turn."""
        for work in (floor, ours) if turn % 2 == 0 else (ours, floor):
            work()

    def run(self, row: Row, method: str, *args: object) -> Sample:
        """Measure one of our steps, under the profiler where asked for; the caller keeps the sample."""
        sample = self.meter.sample(self.ours, method, *args, profile=self.profile)
        if self.profile:
            self.profiles[row.stage] = (sample.wall, sample.profile)
        return sample


def check(what: str, found: object, wanted: object) -> None:
    """Raise RuntimeError if a stage did not do what it was measured for."""
    if found != wanted:
        raise RuntimeError(f"{what}: {found} instead of {wanted}; this is no measurement")


# ---- inbound ----


def first_read(sides: Sides, turn: int) -> None:
    """Everything, into an empty database: staged is the mirror, merged the hub."""
    n, vendor, meter = sides.size, sides.vendor, sides.meter
    staged = sides.row(FULL_STAGED, n, STAGED, least_full(vendor, n))
    merged = sides.row(FULL_MERGED, n, MERGED, None)
    bare_staged, bare_merged = (sides.row(name, n, None, None) for name in (BARE_STAGED, BARE_MERGED))

    def floor() -> None:
        bare = meter.sample(sides.floor, "read_bare")
        check("the bare floor read", bare.result, n)
        read = meter.sample(sides.floor, "read")
        check("the floor read", read.result, n)
        wrote = meter.sample(sides.floor, "merge")
        check("the floor merged", wrote.result, n)
        staged.floor.append(read)
        merged.floor.append(read + wrote)
        for row in (bare_staged, bare_merged):
            row.floor.append(bare)

    def ours() -> None:
        read = sides.run(staged, "inbound")
        check("records in the mirror", read.result["created"], n)
        wrote = sides.run(merged, "hub")
        check("records in the hub", wrote.result["created"] + wrote.result["parked"], n)
        staged.ours.append(read)
        merged.ours.append(read + wrote)
        bare_staged.ours.append(read)
        bare_merged.ours.append(read + wrote)
        merged.different, merged.written = n - wrote.result["parked"], wrote.result["created"]

    sides.take_turns(turn, ours, floor)
    sides.done(FULL_MERGED)


def changed_in_crm(sides: Sides, conn: Connection, turn: int, changes: int) -> None:
    """So many records are edited in the CRM; both sides find them and bring them in."""
    meter, vendor = sides.meter, sides.vendor
    names = inbound_steps(changes)
    staged = sides.row(names[0], changes, STAGED, least_changed(vendor, changes))
    merged = sides.row(names[1], changes, MERGED, None)
    settle(sides)
    since = meter.now()
    if changes:
        edit_in_crm(sides, conn, turn, changes)
    journal = fields_written(conn, "hub")

    def floor() -> None:
        read = meter.sample(sides.floor, "changed", since)
        check("the floor read", read.result, changes)
        staged.floor.append(read)
        merged.floor.append(read + meter.sample(sides.floor, "apply"))

    def ours() -> None:
        read = sides.run(staged, "inbound")
        check("records changed in the mirror", read.result["updated"], changes)
        wrote = sides.run(merged, "hub")
        staged.ours.append(read)
        merged.ours.append(read + wrote)
        merged.different, merged.written = changes, fields_written(conn, "hub") - journal

    sides.take_turns(turn, ours, floor)
    sides.done(names[1])


def edit_in_crm(sides: Sides, conn: Connection, turn: int, changes: int) -> None:
    """Give the title of so many linked records a new value in the CRM, past both sides; not measured."""
    offset = turn * changes % max(1, sides.size - changes)
    sides.floor.call(
        "ready_to_update", linked(sides, conn, changes, offset), f"Title in the CRM {changes}.{turn}."
    )
    check("records edited in the CRM", sides.floor.call("update", "title").result, changes)


def settle(sides: Sides) -> None:
    """Let three hours pass in the CRM and a run of ours go by, so that older edits are no longer read again."""
    sides.meter.pass_time(3)
    sides.ours.call("inbound")
    sides.ours.call("hub")


def linked(sides: Sides, conn: Connection, number: int, offset: int) -> list[str]:
    """Ids of linked CRM records, in the order of these ids."""
    table = sql.Identifier(sides.vendor, "contact_base")
    rows = conn.execute(
        sql.SQL("select crm_id from {} order by crm_id limit %s offset %s").format(table), [number, offset]
    ).fetchall()
    check("linked records", len(rows), number)
    return [row[0] for row in rows]


def fields_written(conn: Connection, side: str) -> int:
    """Writes in the journal so far: fields, and whole records for creates."""
    row = conn.execute(
        "select count(*) from sync.change where side = %s and kind in ('create', 'update')", [side]
    ).fetchone()
    return int(row[0]) if row else 0


# ---- outbound ----


def changed_in_hub(sides: Sides, conn: Connection, turn: int, changes: int) -> None:
    """An application changed one field of so many linked records. The floor sends as many values of another field,
    so that neither meets the other's work."""
    name = f"{changes:,} changed in the hub"
    row = sides.row(name, changes, OUTBOUND, least_written(sides.vendor, changes))
    crm_ids = linked(sides, conn, changes, turn * changes % max(1, sides.size - changes))
    conn.execute(
        sql.SQL(
            "update hub.contact h set title = %s || h.id from {} b where b.hub_id = h.id and b.crm_id = any(%s)"
        ).format(sql.Identifier(sides.vendor, "contact_base")),
        [f"Title in the hub {changes}.{turn} ", crm_ids],
    )
    sides.floor.call("ready_to_update", crm_ids, f"floor {changes}.{turn} ")
    conn.execute("analyze")

    def floor() -> None:
        sent = sides.meter.sample(sides.floor, "update", "unmapped")
        check("the floor's accepted writes", sent.result, changes)
        row.floor.append(sent)

    def ours() -> None:
        before = fields_written(conn, "crm")
        sent = sides.run(row, "outbound")
        check("accepted writes", sent.result["updated"], changes)
        row.ours.append(sent)
        journal = fields_written(conn, "crm") - before
        row.different, row.written = changes, max(journal, sent.writes or 0)

    sides.take_turns(turn, ours, floor)
    sides.done(name)


def creates(sides: Sides, turn: int) -> None:
    """A full hub, an empty CRM. (Before the first turn it is empty; what the turns before have created stays.)"""
    n = sides.size
    row = sides.row(CREATE, n, OUTBOUND, least_written(sides.vendor, n))
    plain = sides.row(CREATE_SQL, n, None, None)
    with sides.fresh(f"out_{turn}") as (_, conn):
        fill_hub(conn, n, f"turn{turn}.")
        sides.ours.call("count_as_read")
        sides.floor.call("ready_to_create")

        def floor() -> None:
            sent = sides.meter.sample(sides.floor, "create")
            check("the floor's creates", sent.result, n)
            kept = sides.meter.sample(sides.floor, "remember")
            check("creates that the floor remembers", kept.result, n)
            row.floor.append(sent)
            plain.floor.append(sent + kept)

        def ours() -> None:
            sent = sides.run(row, "outbound")
            check("creates", sent.result["created"], n)
            row.ours.append(sent)
            plain.ours.append(sent)
            row.different, row.written = n, max(sent.result["created"], sent.writes or 0)

        sides.take_turns(turn, ours, floor)
    sides.done(CREATE)


def fill_hub(conn: Connection, records: int, prefix: str) -> None:
    """So many contacts as an application writes them, every value in its normal form."""
    conn.execute(
        "insert into hub.contact (first_name, last_name, email, phone, title, birth_date, opted_out, notes)"
        " select 'First' || i, 'Last' || i, %s || i || '@example.com', '+1212' || (2000000 + i), 'Title ' || i %% 97,"
        " date '1960-01-01' + i %% 15000, i %% 5 = 0, 'Note ' || i from generate_series(1, %s) i",
        [prefix, records],
    )
    conn.execute("analyze")
