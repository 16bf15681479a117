"""`crm-sync status`: how far every stream is."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from crm_sync.commands import console
from crm_sync.commands.workspace import workspace
from crm_sync.core.errors import ConnectionState
from crm_sync.core.spec import StreamSpec, System
from crm_sync.hub import breaker, dirty, holds, parked, parked_list, waiting
from crm_sync.hub.waiting import Waiting


@dataclass(frozen=True, slots=True)
class State:
    """One stream. Times are UTC; changed: records that have to be looked at; waiting: references whose target is not in
    the other side yet, waiting_for: by field and cause; parked_by_owner: who can do something about how many of the parked ones; conflicts:
    open ones; held: the guard's open holds that stop it, by number; connection: how its connection is, and why."""

    stream: str
    direction: str
    linked: int
    changed: int
    waiting: int
    waiting_for: Sequence[Waiting]
    parked: int
    parked_by_owner: Mapping[str, int]
    conflicts: int
    held: Mapping[int, str]
    watermark: datetime | None
    last_run: datetime | None
    last_status: str | None
    connection: str
    connection_reason: str


def status(*, as_json: bool) -> None:
    """Show all streams, in the order in which they are synced."""
    here = workspace()
    with psycopg.connect(here.database(), autocommit=True) as conn:
        conn.execute("set timezone = 'UTC'")
        healths = {c.name: breaker.health(conn, c.name) for c in here.system.connections}
        states = [state(conn, here.system, stream, healths[stream.connection]) for stream in here.streams()]
    if as_json:
        console.document([asdict(s) for s in states])
        return
    numbers = ("linked", "changed", "waiting", "parked", "conflicts")
    table = console.table(
        "stream", "direction", *numbers, "read up to (UTC)", "last run (UTC)", "", numbers=numbers
    )
    for s in states:
        table.add_row(
            s.stream,
            s.direction.replace("_", " "),
            *(console.number(n) for n in (s.linked, s.changed, s.waiting, s.parked, s.conflicts)),
            f"{s.watermark:%Y-%m-%d %H:%M:%S}" if s.watermark else "never",
            f"{s.last_run:%Y-%m-%d %H:%M:%S}" if s.last_run else "never",
            s.last_status or "",
        )
    console.out.print(table)
    for health in healths.values():
        _show(health)
    _show_held(states)
    _show_parked(states)
    _show_waiting(states)


def _show(health: breaker.Health) -> None:
    """A connection that is not healthy, since when, why, and when it is tried again."""
    if health.state is ConnectionState.HEALTHY:
        return
    since = f" since {health.since:%Y-%m-%d %H:%M:%S}" if health.since else ""
    again = f" It is tried again at {health.open_until:%H:%M:%S}." if health.open_until else ""
    text = f"{health.connection} is {health.state}{since} (UTC): {health.reason}{again}"
    console.out.print(text, markup=False, soft_wrap=True)


def _show_held(states: Sequence[State]) -> None:
    """What the guard holds back, each hold once: that of a connection concerns all its streams."""
    held = {number: (s.stream, text) for s in reversed(states) for number, text in s.held.items()}
    for number, (stream, text) in sorted(held.items()):
        console.out.print(
            f"held back: {stream}: {text} (`crm-sync guard confirm {number}` lets it through)",
            markup=False,
            soft_wrap=True,
        )


def _show_parked(states: Sequence[State]) -> None:
    """Who can do something about how many records, of all streams."""
    owners: Counter[str] = Counter()
    for s in states:
        owners.update(s.parked_by_owner)
    if owners:
        told = "; ".join(f"{owner or 'unknown'}: {number:,}" for owner, number in owners.most_common())
        console.out.print(f"parked, by who can mend it: {told} (`crm-sync parked list` says what to do)")


def _show_waiting(states: Sequence[State]) -> None:
    """Which references wait for what, and since when; ids only."""
    for s in states:
        for one in s.waiting_for:
            more = ", ..." if one.number > len(one.missing) else ""
            console.out.print(
                f"waiting: {s.stream}: {one.number:,} of {one.field} in the {_SIDES[one.side]} since"
                f" {one.since:%Y-%m-%d %H:%M}: {one.target} {one.because} ({', '.join(one.missing)}{more})",
                markup=False,
                soft_wrap=True,
            )


_SIDES = {"hub": "hub", "crm": "CRM"}


def state(conn: psycopg.Connection, system: System, stream: StreamSpec, health: breaker.Health) -> State:
    """What the database says about one stream."""
    waits = waiting.find(conn, stream, {s.entity: s for s in system.connection(stream.connection).streams})
    base = sql.Identifier(stream.connection, f"{stream.entity}_base")
    query = sql.SQL(
        "select (select count(*) from {base}) as linked,"
        " (select count(*) from review.conflict where connection = %(c)s and entity = %(e)s and status = 'open') as conflicts,"
        " (select position from sync.watermark where connection = %(c)s and entity = %(e)s) as watermark,"
        " h.start_time as last_run, h.status as last_status"
        " from (select 1) as one left join lateral (select start_time, status from sync.history"
        " where crm_source = %(c)s and entity = %(e)s order by start_time desc limit 1) h on true"
    ).format(base=base)
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query, {"c": stream.connection, "e": stream.entity}).fetchone() or {}
    return State(
        stream=stream.name,
        direction=stream.direction,
        changed=dirty.count(conn, stream),
        waiting=sum(one.number for one in waits),
        waiting_for=waits,
        parked=parked.count(conn, stream),
        parked_by_owner=parked_list.by_owner(conn, stream),
        held={hold.id: hold.sentence for hold in holds.of_stream(conn, stream)},
        connection=health.state,
        connection_reason=health.reason,
        **row,
    )
