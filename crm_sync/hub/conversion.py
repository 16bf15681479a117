"""Converted leads: what a CRM has made of them, and what is carried over to it.

A page that shows a converted lead notes it in `sync.conversion`, in the transaction that merges the page into the
mirror. The hub record of the lead stays and takes no part in the sync any more, for the CRM takes no change of it. The
contact, company and deal that it became are linked like all others; as soon as lead and contact both are, what pointed
to the lead points to the contact as well. Another CRM that has the lead as a record of the same object as contacts gets
no second one: its record is the contact's partner.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.connectors.crm import CONVERTED, CRM_ID, BatchPage, Page
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import carried_references, conversion_partners
from crm_sync.hub.sql import ident
from crm_sync.hub.staging import Staged

ROLES: Mapping[str, str] = {"Contact": "contact", "Account": "company", "Opportunity": "deal"}
"""What a lead becomes, by the object's name in the CRMs that convert leads."""


def note(conn: Connection, stream: StreamSpec, page: Page, staged: Staged) -> None:
    """Note the converted leads of the page in the temporary table `staging`; costs nothing if there are none."""
    crm_id, columns = staged.column(CRM_ID), [staged.column(name) for name in CONVERTED]
    if crm_id is None or None in columns or _none_converted(page, [c for c in columns if c]):
        return
    became = [sql.SQL("nullif(s.{}, '')").format(ident(column or "")) for column in columns]
    # What the mapping reads of a lead need not have changed: it is marked all the same.
    conn.execute(
        sql.SQL(
            "with noted as (insert into sync.conversion as c (connection, entity, crm_id, contact, company, deal)"
            " select distinct on (s.{crm_id}) {connection}, {entity}, s.{crm_id}, {became} from staging s"
            " where coalesce({became}) is not null order by s.{crm_id} on conflict (connection, entity, crm_id) do update"
            " set contact = excluded.contact, company = excluded.company, deal = excluded.deal, contact_id = null,"
            " company_id = null, deal_id = null, carried_at = null"
            " where (c.contact, c.company, c.deal) is distinct from (excluded.contact, excluded.company, excluded.deal)"
            " returning c.crm_id) insert into sync.mark (stream, by_hub, crm_id) select s.id, false, n.crm_id from noted n"
            " join sync.stream s on s.connection = {connection} and s.entity = {entity}"
        ).format(
            crm_id=ident(crm_id),
            connection=sql.Literal(stream.connection),
            entity=sql.Literal(stream.entity),
            became=sql.SQL(", ").join(became),
        )
    )


def _none_converted(page: Page, columns: Sequence[str]) -> bool:
    """CSV is asked by the statement itself: only pages of leads have the columns."""
    if not isinstance(page, BatchPage):
        return False
    return all(page.batch.column(name).null_count == page.batch.num_rows for name in columns)


def concerned(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> int:
    """The conversions that these records have a part in, into the temporary table `converting`; how many. For a lead:
    its own; for a contact, company or deal: those of the leads that became it. What they became may have been merged
    meanwhile."""
    row = conn.execute(
        "select exists (select from sync.conversion where connection = %s)", [stream.connection]
    ).fetchone()
    if row is None or not row[0]:
        return 0
    role = ROLES.get(stream.object)
    mine = sql.SQL("c.{} = any(%s)").format(ident(role)) if role else sql.SQL("c.entity = {} and c.crm_id = any(%s)").format(
        sql.Literal(stream.entity))  # fmt: skip
    ids = list(crm_ids)
    if role:  # the lead names the record that was merged into this one
        ids += [
            row[0]
            for row in conn.execute(
                "select crm_id from sync.alias where connection = %s and entity = %s and survivor = any(%s)",
                [stream.connection, stream.entity, ids],
            )
        ]
    conn.execute("drop table if exists pg_temp.converting")
    return conn.execute(
        sql.SQL(
            "create temporary table converting on commit drop as select c.* from sync.conversion c"
            " where c.connection = {} and {}"
        ).format(sql.Literal(stream.connection), mine),
        [ids],
    ).rowcount


def identify(conn: Connection, connection: str) -> None:
    """Note the hub records of the leads in `converting` and of what they became, as far as they are linked."""
    for (entity,) in conn.execute("select distinct entity from converting").fetchall():
        _identify(
            conn,
            connection,
            entity,
            "crm_id",
            "hub_id",
            sql.SQL("and c.entity = {}").format(sql.Literal(entity)),
        )
    for entity, name in _targets(conn, connection):
        _identify(conn, connection, entity, name, f"{name}_id", sql.SQL(""))


def _identify(
    conn: Connection, connection: str, entity: str, theirs: str, ours: str, which: sql.Composable
) -> None:
    conn.execute(
        sql.SQL(
            "update sync.conversion c set {ours} = b.hub_id from converting k join {base} b on b.crm_id = coalesce("
            "(select a.survivor from sync.alias a where a.connection = {connection} and a.entity = {entity}"
            " and a.crm_id = k.{theirs}), k.{theirs}) where c.connection = {connection} and c.entity = k.entity"
            " and c.crm_id = k.crm_id and c.{ours} is distinct from b.hub_id {which}"
        ).format(
            ours=ident(ours),
            theirs=ident(theirs),
            base=ident(connection, f"{entity}_base"),
            connection=sql.Literal(connection),
            entity=sql.Literal(entity),
            which=which,
        )
    )  # fmt: skip


def _targets(conn: Connection, connection: str) -> list[tuple[str, str]]:
    """The entities of the connection that leads become, each with its role."""
    rows = conn.execute(
        "select entity, object from sync.stream where connection = %s and object = any(%s) order by id",
        [connection, list(ROLES)],
    ).fetchall()
    return [(entity, ROLES[name]) for entity, name in rows]


def end(conn: Connection, connection: str) -> int:
    """The linked leads in `converting` take no part in the sync from now on; returns how many are new to that. What waits
    for them is over: pushes, which the CRM would refuse, and disputes."""
    number = 0
    for (entity,) in conn.execute("select distinct entity from converting").fetchall():
        key = {"connection": connection, "entity": entity}
        rows = conn.execute(
            sql.SQL(
                "update {mirror} m set lead_converted = true from converting k join sync.conversion c"
                " on c.connection = k.connection and c.entity = k.entity and c.crm_id = k.crm_id"
                " where k.entity = %(entity)s and m.crm_id = k.crm_id and c.hub_id is not null and not m.lead_converted"
                " returning c.hub_id, c.crm_id, c.contact, c.company, c.deal"
            ).format(mirror=ident(connection, entity)),
            key,
        ).fetchall()
        number += len(rows)
        ids = [row[0] for row in rows]
        conn.execute(
            "update review.conflict set status = 'superseded' where connection = %(connection)s and entity = %(entity)s"
            " and hub_id = any(%(ids)s) and status in ('open', 'decided', 'skipped')",
            {**key, "ids": ids},
        )
        conn.execute(
            "delete from sync.parked where connection = %(connection)s and entity = %(entity)s and side = 'hub'"
            " and record_id = any(%(ids)s)",
            {**key, "ids": [str(one) for one in ids]},
        )
    return number


def ready(conn: Connection, stream: StreamSpec) -> list[tuple[UUID, str]]:
    """The leads in `converting` that are records of this stream and of which it is known what hangs on them goes to; each
    with what it became."""
    return [
        (lead, f"{crm_id} was converted into contact {contact}: what refers to it refers to the contact, too")
        for lead, crm_id, contact in conn.execute(
            "select c.hub_id, c.crm_id, c.contact from converting k join sync.conversion c on c.connection = k.connection"
            f" and c.entity = k.entity and c.crm_id = k.crm_id where k.entity = %s and {_READY} and c.contact is not null"
            " order by c.crm_id",
            [stream.entity],
        )
    ]


def narrow(conn: Connection, stream: StreamSpec, leads: Sequence[UUID]) -> None:
    """Of `converting`, leave these leads of the stream."""
    conn.execute(
        "delete from converting where entity <> %s or hub_id is null or hub_id <> all(%s)",
        [stream.entity, list(leads)],
    )


def mark_ready(conn: Connection, streams: Sequence[StreamSpec]) -> None:
    """Have the converted leads of these streams looked at that could be carried over, and wait for approval or for a sync."""
    conn.execute(
        "insert into sync.mark (stream, by_hub, crm_id) select s.id, false, c.crm_id from sync.conversion c"
        " join sync.stream s on s.connection = c.connection and s.entity = c.entity"
        f" where (c.connection, c.entity) in (select * from unnest(%s::text[], %s::text[])) and {_READY}",
        [[s.connection for s in streams], [s.entity for s in streams]],
    )


_READY = "c.carried_at is null and c.hub_id is not null and (c.contact_id is not null or c.contact is null)"


def carry(conn: Connection, connection: str, run_id: str | None) -> tuple[int, list[str]]:
    """Carry over what hangs on the leads in `converting` whose lead and contact are both known by now; how many, and which
    references the user's database refuses."""
    rows = conn.execute(
        "update sync.conversion c set carried_at = clock_timestamp() from converting k where c.connection = %s"
        f" and c.entity = k.entity and c.crm_id = k.crm_id and {_READY} returning c.entity, c.hub_id, c.crm_id, c.contact_id,"
        " c.contact, c.company, c.deal",
        [connection],
    ).fetchall()
    if not rows:
        return 0, []
    conn.execute("drop table if exists pg_temp.carried")
    conn.execute("create temporary table carried (entity text, lead uuid, contact uuid) on commit drop")
    with conn.cursor() as cursor, cursor.copy("copy carried from stdin") as copy:
        for entity, lead, _, contact, *_ in rows:
            if contact is not None:
                copy.write_row((entity, lead, contact))
    targets = {role: entity for entity, role in reversed(_targets(conn, connection))}
    _journal(conn, connection, targets, rows, run_id)
    refused: list[str] = []
    if "contact" in targets:
        for entity in sorted({row[0] for row in rows}):
            refused += carried_references.fill(conn, entity, targets["contact"])
            conversion_partners.mark(conn, connection, entity, targets["contact"])
    return len(rows), refused


def _journal(
    conn: Connection,
    connection: str,
    targets: Mapping[str, str],
    rows: Sequence[tuple[str, UUID, str, UUID | None, str | None, str | None, str | None]],
    run_id: str | None,
) -> None:
    """At the lead, what it became; at the contact, where it comes from."""
    told: list[
        tuple[str | None, str, str, UUID, str]
    ] = []  # without ids of the CRM: undo pulls nothing apart here
    for entity, lead, crm_id, contact, *became in rows:
        into = ", ".join(
            f"{targets.get(role, role)} {theirs}"
            for role, theirs in zip(ROLES.values(), became, strict=True)
            if theirs
        )
        told.append((run_id, connection, entity, lead, f"{crm_id} was converted into {into}"))
        if contact is not None and "contact" in targets:
            reason = f"converted from {entity} {lead} ({crm_id})"
            told.append((run_id, connection, targets["contact"], contact, reason))
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into sync.change (run_id, connection, entity, hub_id, side, kind, reason)"
            " values (%s, %s, %s, %s, 'hub', 'link', %s || coalesce(current_setting('crm_sync.note', true), ''))",
            told,
        )
