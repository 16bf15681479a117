"""Which records a complete listing did not show, and what becomes of them in the mirror.

A listing notes the live ids of each page in the page's own transaction, and is known by its number in the state of the
read: a read that is gone on with goes on noting, one that begins anew begins a new listing. Here is no call to a CRM;
`steps/sweep.py` asks it about what is missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from psycopg import Connection, sql

from crm_sync.connectors.crm import CRM_ID, DELETED, CsvPage, Page
from crm_sync.core.spec import StreamSpec
from crm_sync.hub.sql import ident, mirror_table

Kind = Literal["inbound", "sweep"]
BATCH = 2_000
"""Records that are asked about together: what one call of Salesforce takes."""


def begin(conn: Connection, stream: StreamSpec, kind: Kind) -> int:
    """The number of a new listing of the stream; what an earlier one noted is forgotten."""
    end(conn, stream, kind)
    row = conn.execute(
        "insert into sync.listing (connection, entity, kind) values (%s, %s, %s) returning id",
        [stream.connection, stream.entity, kind],
    ).fetchone()
    assert row is not None
    number: int = row[0]
    return number


def is_under_way(conn: Connection, stream: StreamSpec, kind: Kind, listing: int | None) -> bool:
    """Whether this listing has noted everything since its beginning."""
    row = conn.execute(
        "select id from sync.listing where connection = %s and entity = %s and kind = %s",
        [stream.connection, stream.entity, kind],
    ).fetchone()
    return row is not None and row[0] == listing


def end(conn: Connection, stream: StreamSpec, kind: Kind) -> None:
    conn.execute(
        "delete from sync.listing where connection = %s and entity = %s and kind = %s",
        [stream.connection, stream.entity, kind],
    )


def note(conn: Connection, listing: int, page: Page) -> None:
    """The page that is in the temporary table `staging` was shown. In the transaction that takes it in."""
    roles = page.roles if isinstance(page, CsvPage) else {}
    columns = page.columns if isinstance(page, CsvPage) else tuple(page.batch.schema.names)
    crm_id, deleted = (roles.get(role, role) for role in (CRM_ID, DELETED))
    live = (
        sql.SQL("({0} is null or {0} = 'false' or lower({0}) not in ('true', '1'))").format(
            ident("s", deleted)
        )
        if deleted in columns
        else sql.SQL("true")
    )
    conn.execute(
        sql.SQL(
            "insert into sync.seen (listing, crm_ids) select %s, string_agg({}, chr(10)) from staging s where {} having count(*) > 0"
        ).format(ident("s", crm_id), live),
        [listing],
    )


def doubtful(conn: Connection, stream: StreamSpec, listing: int) -> Iterator[list[str]]:
    """The records of which the mirror says something else than the listing, which has come to its end: those that it
    did not show though the mirror had them as live before it began, and those that it showed though the mirror has them
    as deleted or outside. By the thousand, to be asked about; each outside a transaction."""
    conn.execute("drop table if exists pg_temp.doubtful")
    conn.execute('create temporary table doubtful (crm_id text collate "C" primary key)')
    with conn.transaction():
        # Nobody has counted what was noted: a plan that goes through it again for each record would never end.
        conn.execute("set local enable_nestloop = off; set local enable_mergejoin = off")
        conn.execute(
            sql.SQL(
                "insert into doubtful select m.crm_id from {mirror} m left join (select distinct u.crm_id"
                " from sync.seen s cross join lateral string_to_table(s.crm_ids, chr(10)) u(crm_id) where s.listing = %s) l"
                ' on l.crm_id collate "C" = m.crm_id where case when l.crm_id is null then not m.deleted and not m.outside'
                " and m.seen_at < (select begun_at from sync.listing where id = %s) else m.deleted or m.outside end"
            ).format(mirror=mirror_table(stream)),
            [listing, listing],
        )
    while ids := conn.execute(
        "delete from doubtful where crm_id in (select crm_id from doubtful order by crm_id limit %s) returning crm_id",
        [BATCH],
    ).fetchall():
        yield sorted(row[0] for row in ids)
    conn.execute("drop table doubtful")


def delete(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str], at: datetime) -> int:
    """The CRM does not have these records, as was seen at that moment of its clock (UTC); returns how many are new."""
    return _change(
        conn,
        stream,
        "update {mirror} m set deleted = true, modified_at = greatest(m.modified_at, %s), seen_at = clock_timestamp()"
        " where m.crm_id = any(%s) and not m.deleted returning m.crm_id",
        [at, list(crm_ids)],
    )


def leave(conn: Connection, stream: StreamSpec, left: Mapping[str, datetime | None]) -> int:
    """These live records do not fulfil the stream's filter, as of the modification (UTC; None: of the one that the
    mirror knows); returns how many did before."""
    return _change(
        conn,
        stream,
        "update {mirror} m set outside = true, modified_at = greatest(m.modified_at, l.at), seen_at = clock_timestamp()"
        " from unnest(%s::text[], %s::timestamptz[]) l(crm_id, at) where m.crm_id = l.crm_id and not m.deleted"
        " and not m.outside and (l.at is null or m.modified_at is null or l.at >= m.modified_at) returning m.crm_id",
        [list(left), list(left.values())],
    )


def suspects(conn: Connection, stream: StreamSpec, told: Mapping[str, datetime | None]) -> list[str]:
    """Those of these records, with the time of their last modification (UTC), that take part as far as the mirror
    knows, which knows nothing newer."""
    rows = conn.execute(
        sql.SQL(
            "select m.crm_id from unnest(%s::text[], %s::timestamptz[]) l(crm_id, at) join {} m on m.crm_id = l.crm_id"
            " where not m.deleted and not m.outside and (m.modified_at is null or l.at is null or l.at >= m.modified_at)"
        ).format(mirror_table(stream)),
        [list(told), list(told.values())],
    ).fetchall()
    return [row[0] for row in rows]


def distrust(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> None:
    """What is merged next about those of these records that the mirror has as deleted is newer."""
    conn.execute(
        sql.SQL("update {} set modified_at = null where crm_id = any(%s) and deleted").format(
            mirror_table(stream)
        ),
        [list(crm_ids)],
    )


def _change(conn: Connection, stream: StreamSpec, update: str, values: Sequence[object]) -> int:
    """Update the mirror and mark what changed."""
    return conn.execute(
        sql.SQL(
            "with changed as ({}) insert into sync.mark (stream, by_hub, crm_id)"
            " select s.id, false, c.crm_id from sync.stream s cross join changed c where s.connection = {} and s.entity = {}"
        ).format(
            sql.SQL(update).format(mirror=mirror_table(stream)),
            sql.Literal(stream.connection),
            sql.Literal(stream.entity),
        ),
        values,
    ).rowcount
