"""Two hub records become one, because a person decided so.

The record that stays keeps its values; where it has none it gets the other's. What pointed to the other one points to
it, in every table of the database. The other one's links go over where that CRM does not have the record yet, or not any
more; where it has both, its record becomes a double: an alias that is linked with nothing, shown, and never deleted by us.
Then the other row is deleted, and if it was alive, so is the one that stays. The journal keeps every value of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import Connection, sql
from psycopg.types.json import Jsonb

from crm_sync.core.spec import StreamSpec
from crm_sync.hub.sql import hub_table, ident, to_text

ACTOR = "a merge"
"""Who has deleted the row, in its tombstone: neither an application nor a connection."""
_OURS = ("id", "created_at", "updated_at", "archived_at")
"""Columns that are about the row itself."""


@dataclass(frozen=True, slots=True)
class Joining:
    """`gone` becomes a part of `stays`. stream: the one on which it was decided; person: who did."""

    stream: StreamSpec
    gone: UUID
    stays: UUID
    person: str
    run_id: str | None

    @property
    def reason(self) -> str:
        return f"decided by {self.person}"


def possible(conn: Connection, joining: Joining) -> bool:
    """Whether both are there (and stay so until the end of the transaction), and no write of either is without its
    answer, which would be recorded about a record that is gone."""
    entity = joining.stream.entity
    both = [joining.gone, joining.stays]
    rows = conn.execute(
        sql.SQL("select id from {} where id = any(%s) order by id for update").format(hub_table(entity)),
        [both],
    ).fetchall()
    unanswered = conn.execute(
        "select 1 from sync.intent where entity = %s and hub_id = any(%s)", [entity, both]
    ).fetchone()
    return len(rows) == 2 and unanswered is None


def join(conn: Connection, joining: Joining) -> None:
    """Make one of the two, in the caller's transaction. Raises one of `refusals.REFUSED` if the user's database
    forbids it."""
    _repoint(conn, joining)
    _links(conn, joining)
    _bookkeeping(conn, joining)
    _rows(conn, joining)


def _repoint(conn: Connection, joining: Joining) -> None:
    """Every column with a foreign key to the hub table, the user's tables too. A record never refers to itself by it."""
    for schema, name, column, own in _referring(conn, joining.stream):
        to = sql.SQL("case when id <> %(stays)s then %(stays)s end" if own else "%(stays)s")
        conn.execute(
            sql.SQL("update {} set {} = {} where {} = %(gone)s").format(
                ident(schema, name), ident(column), to, ident(column)
            ),
            {"gone": joining.gone, "stays": joining.stays},
        )


def _referring(conn: Connection, stream: StreamSpec) -> list[tuple[str, str, str, bool]]:
    """Every column with a foreign key to the hub table: schema, table, column, whether it is the hub table's own."""
    return conn.execute(
        "select n.nspname, r.relname, a.attname, c.conrelid = c.confrelid from pg_constraint c"
        " join pg_class r on r.oid = c.conrelid join pg_namespace n on n.oid = r.relnamespace"
        " join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]"
        " join pg_attribute k on k.attrelid = c.confrelid and k.attnum = c.confkey[1]"
        " where c.contype = 'f' and c.confrelid = to_regclass(%s) and cardinality(c.conkey) = 1 and k.attname = 'id'"
        " order by 1, 2, 3",
        [hub_table(stream.entity).as_string(conn)],
    ).fetchall()


def _links(conn: Connection, joining: Joining) -> None:
    entity = joining.stream.entity
    streams = conn.execute("select id, connection from sync.stream where entity = %s order by id", [entity])
    key = {"gone": joining.gone, "stays": joining.stays, "entity": entity, "run_id": joining.run_id}
    for number, connection in streams.fetchall():
        base = ident(connection, f"{entity}_base")
        about = {**key, "stream": number, "connection": connection}
        _let_the_living_win(conn, about, base, ident(connection, entity), joining)
        moved = conn.execute(
            sql.SQL(
                "update {base} b set hub_id = %(stays)s where b.hub_id = %(gone)s"
                " and not exists (select from {base} k where k.hub_id = %(stays)s) returning crm_id"
            ).format(base=base),
            about,
        ).fetchall()
        doubles = conn.execute(
            sql.SQL(
                "delete from {base} b where b.hub_id = %(gone)s returning b.crm_id,"
                " (select k.crm_id from {base} k where k.hub_id = %(stays)s)"
            ).format(base=base),
            about,
        ).fetchall()
        for (crm_id,) in moved:
            _note_link(
                conn, about, crm_id, f"was the record of {joining.gone}, which was merged: {joining.reason}"
            )
        for crm_id, survivor in doubles:
            _note_double(conn, about, crm_id, survivor)
            reason = f"double of {survivor}: {joining.gone} was merged: {joining.reason}"
            _note_link(conn, about, crm_id, reason)
        conn.execute(
            "insert into sync.mark (stream, by_hub, hub_id) values (%(stream)s, true, %(stays)s)", about
        )


def _let_the_living_win(
    conn: Connection,
    about: dict[str, object],
    base: sql.Identifier,
    mirror: sql.Identifier,
    joining: Joining,
) -> None:
    """Where the record of the one that stays is gone in this CRM and the other's is not, the dead link makes room. Its id
    means the living record from now on, should somebody take it out of the recycle bin."""
    rows = conn.execute(
        sql.SQL(
            "delete from {base} k using {base} g, {mirror} dead, {mirror} living where k.hub_id = %(stays)s"
            " and g.hub_id = %(gone)s and dead.crm_id = k.crm_id and dead.deleted and living.crm_id = g.crm_id"
            " and not living.deleted returning k.crm_id, g.crm_id"
        ).format(base=base, mirror=mirror),
        about,
    ).fetchall()
    for was, now in rows:
        _note_alias(conn, about, was, now)
        _note_link(conn, about, was, f"is deleted; {now} takes its place: {joining.reason}")


def _note_link(conn: Connection, about: dict[str, object], crm_id: str, reason: str) -> None:
    conn.execute(
        "insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, reason)"
        " values (%(run_id)s, %(connection)s, %(entity)s, %(stays)s, %(crm_id)s, 'hub', 'merge', %(reason)s)",
        {**about, "crm_id": crm_id, "reason": reason},
    )


def _note_alias(conn: Connection, about: dict[str, object], crm_id: str, survivor: str) -> None:
    key = {**about, "crm_id": crm_id, "survivor": survivor}
    conn.execute(
        "insert into sync.alias (connection, entity, crm_id, survivor, reason, hub_id, settled_at) values (%(connection)s,"
        " %(entity)s, %(crm_id)s, %(survivor)s, 'double', %(gone)s, clock_timestamp()) on conflict (connection, entity,"
        " crm_id) do update set survivor = excluded.survivor, reason = 'double', hub_id = excluded.hub_id,"
        " settled_at = excluded.settled_at",
        key,
    )


def _note_double(conn: Connection, about: dict[str, object], crm_id: str, survivor: str) -> None:
    _note_alias(conn, about, crm_id, survivor)
    conn.execute(
        "insert into sync.mark (stream, by_hub, crm_id) values (%(stream)s, false, %(crm_id)s)",
        {**about, "crm_id": crm_id},
    )


def _bookkeeping(conn: Connection, joining: Joining) -> None:
    """What waits about the record that goes, and what remembers it by its id. Another CRM that has merged the record which goes
    into a third one's has the one that stays there, too: it is asked about that, if it has no record of its own there."""
    key = {"gone": joining.gone, "stays": joining.stays, "entity": joining.stream.entity}
    for statement in _STATEMENTS:
        conn.execute(statement, key)


_LIVE = "status in ('open', 'decided')"
_STATEMENTS = (
    *(
        f"update {table} where entity = %(entity)s and {which}"
        for table, which in (
            ("review.conflict set status = 'superseded'", f"hub_id = %(gone)s and ({_LIVE} or status = 'skipped')"),
            ("review.merge m set status = 'open', decision = null, decided_by = null, decided_at = null, hub_id = %(stays)s",
             (f"hub_id = %(gone)s and kept_id <> %(stays)s and {_LIVE} and not exists (select from review.merge o"
              f" where o.connection = m.connection and o.entity = m.entity and o.hub_id = %(stays)s and o.{_LIVE})")),
            ("review.merge set status = 'superseded'", f"hub_id = %(gone)s and kept_id <> %(stays)s and {_LIVE}"),
            ("review.merge set status = 'superseded'", f"hub_id = %(stays)s and kept_id = %(gone)s and {_LIVE}"),
            ("review.merge set kept_id = %(stays)s", f"kept_id = %(gone)s and {_LIVE}"),
        )
    ),
    "delete from sync.parked where entity = %(entity)s and side = 'hub' and record_id = %(gone)s::text",
    "update sync.conversion set hub_id = %(stays)s where hub_id = %(gone)s",
    "update sync.conversion set contact_id = %(stays)s where contact_id = %(gone)s",
)  # fmt: skip


def _rows(conn: Connection, joining: Joining) -> None:
    """The other row goes; the one that stays gets what it has no value for. In this order, for what must be unique."""
    stream = joining.stream
    hub = hub_table(stream.entity)
    row = conn.execute(
        sql.SQL("select to_jsonb(h) from {} h where id = %s").format(hub), [joining.gone]
    ).fetchone()
    conn.execute("drop table if exists pg_temp.merged_row")
    conn.execute(sql.SQL("create temporary table merged_row on commit drop as select * from {} where id = {}").format(
        hub, sql.Literal(joining.gone)))  # fmt: skip
    conn.execute("select set_config('crm_sync.actor', %s, true)", [ACTOR])
    conn.execute(sql.SQL("delete from {} where id = %s").format(hub), [joining.gone])
    conn.execute("select set_config('crm_sync.actor', '', true)")
    conn.execute(
        "insert into sync.change (run_id, connection, entity, hub_id, side, kind, old_value, reason)"
        " values (%s, %s, %s, %s, 'hub', 'delete', %s, %s)",
        [joining.run_id, stream.connection, stream.entity, joining.gone, Jsonb(row[0] if row else {}),
         f"merged into {joining.stays}: {joining.reason}"],
    )  # fmt: skip
    _wake(conn, joining)
    blank = _blank(conn, joining, _columns(conn, stream))
    if not blank:
        return
    conn.execute(
        sql.SQL("update {} k set {} from merged_row g where k.id = %s").format(
            hub, sql.SQL(", ").join(sql.SQL("{} = {}").format(ident(n), ident("g", n)) for n in blank)
        ),
        [joining.stays],
    )
    mapped = {spec.name: spec for spec in stream.columns}
    texts = sql.SQL(", ").join(
        sql.SQL("({}, {}::text)").format(
            sql.Literal(n), to_text(mapped[n], ident("g", n)) if n in mapped else ident("g", n)
        )
        for n in blank
    )
    conn.execute(
        sql.SQL(
            "insert into sync.change (run_id, connection, entity, hub_id, field, side, kind, new_value, reason)"
            " select %s, %s, %s, %s, v.field, 'hub', 'update', v.value, %s from merged_row g"
            " cross join lateral (values {}) as v (field, value)"
        ).format(texts),
        [joining.run_id, stream.connection, stream.entity, joining.stays,
         f"filled from {joining.gone}, which was merged: {joining.reason}"],
    )  # fmt: skip


def _wake(conn: Connection, joining: Joining) -> None:
    """A living record does not end inside an archived one."""
    stream = joining.stream
    woken = conn.execute(
        sql.SQL(
            "update {} k set archived_at = null from merged_row g where k.id = %s and k.archived_at is not null"
            " and g.archived_at is null returning k.id"
        ).format(hub_table(stream.entity)),
        [joining.stays],
    ).fetchone()
    if woken is not None:
        conn.execute(
            "insert into sync.change (run_id, connection, entity, hub_id, side, kind, reason)"
            " values (%s, %s, %s, %s, 'hub', 'restore', %s)",
            [joining.run_id, stream.connection, stream.entity, joining.stays,
             f"{joining.gone}, which was merged, was not archived: {joining.reason}"],
        )  # fmt: skip


def _columns(conn: Connection, stream: StreamSpec) -> list[str]:
    """The columns that a person can fill: the user's own too, none that Postgres makes."""
    rows = conn.execute(
        "select attname from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
        " and attgenerated = '' and attidentity = '' order by attnum",
        [hub_table(stream.entity).as_string(conn)],
    ).fetchall()
    return [row[0] for row in rows if row[0] not in _OURS]


def _blank(conn: Connection, joining: Joining, columns: Sequence[str]) -> list[str]:
    """Columns in which the record that stays has nothing and the other one has something, itself apart: no record becomes
    its own parent."""
    if not columns:
        return []
    own = {column for _, _, column, is_own in _referring(conn, joining.stream) if is_own}
    query = sql.SQL("select {} from {} k cross join merged_row g where k.id = %s").format(
        sql.SQL(", ").join(
            sql.SQL("{k} is null and {g} is not null" + (" and {g} <> k.id" if n in own else "")).format(
                k=ident("k", n), g=ident("g", n)
            )
            for n in columns
        ),
        hub_table(joining.stream.entity),
    )
    row = conn.execute(query, [joining.stays]).fetchone()
    return [name for name, fills in zip(columns, row or (), strict=False) if fills]
