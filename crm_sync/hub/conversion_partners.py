"""Partners of converted leads: CRMs in which leads and contacts are records of one object.

Such a CRM has the person already, as the lead. The contact that the lead became elsewhere is not created there: that
record becomes its partner, as soon as it is one of the stream of contacts (its filter may say otherwise until somebody
moves it on).
"""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.spec import StreamSpec
from crm_sync.hub.sql import alive, base_table, hub_table, ident

HOW = "conversion"


def mark(conn: Connection, connection: str, lead: str, contact: str) -> None:
    """Have another CRM's records of these leads looked at as contacts, where both are records of one object."""
    for other, number in _siblings_elsewhere(conn, connection, lead, contact):
        conn.execute(
            sql.SQL(
                "insert into sync.mark (stream, by_hub, hub_id, crm_id) select %(number)s, false, null::uuid, b.crm_id"
                " from carried k join {base} b on b.hub_id = k.lead where k.entity = %(lead)s"
                " union all select %(number)s, true, k.contact, null from carried k where k.entity = %(lead)s"
            ).format(base=ident(other, f"{lead}_base")),
            {"number": number, "lead": lead},
        )


def _siblings_elsewhere(conn: Connection, connection: str, lead: str, contact: str) -> list[tuple[str, int]]:
    """Other connections in which leads and contacts are records of one object, with the number of their contact stream."""
    return conn.execute(
        "select c.connection, c.id from sync.stream c join sync.stream l on l.connection = c.connection"
        " and l.object = c.object and l.entity = %s where c.entity = %s and c.connection <> %s order by c.id",
        [lead, contact, connection],
    ).fetchall()


def _siblings(conn: Connection, stream: StreamSpec) -> list[str]:
    """Other entities of the connection that are records of the same object; none if no lead was ever converted."""
    rows = conn.execute(
        "select entity from sync.stream where connection = %s and object = %s and entity <> %s"
        " and exists (select from sync.conversion) order by id",
        [stream.connection, stream.object, stream.entity],
    ).fetchall()
    return [row[0] for row in rows]


def match(conn: Connection, stream: StreamSpec) -> None:
    """Note in `unlinked` the contacts whose record here is that of the lead they come from."""
    for lead in _siblings(conn, stream):
        conn.execute(
            sql.SQL(
                "with partner as (select distinct on (c.contact_id) u.n, c.contact_id from unlinked u"
                " join {lead} b on b.crm_id = u.crm_id join sync.conversion c on c.hub_id = b.hub_id and c.entity = {entity}"
                " join {hub} h on h.id = c.contact_id where u.found is null"
                " and not exists (select from {base} k where k.hub_id = c.contact_id) order by c.contact_id, u.n)"
                " update unlinked u set found = p.contact_id, how = {how} from partner p where p.n = u.n"
                " and not exists (select from unlinked o where o.found = p.contact_id)"
            ).format(
                lead=ident(stream.connection, f"{lead}_base"),
                entity=sql.Literal(lead),
                hub=hub_table(stream.entity),
                base=base_table(stream),
                how=sql.Literal(HOW),
            )
        )


def waiting(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Those of these hub records, which have no link, that come from a lead this CRM has as a record of the same object,
    with its id: to create them would make a second one of the same person."""
    found: dict[UUID, str] = {}
    for lead in _siblings(conn, stream):
        found |= dict(
            conn.execute(
                sql.SQL(
                    "select c.contact_id, b.crm_id from sync.conversion c join {base} b on b.hub_id = c.hub_id"
                    " join {mirror} m on m.crm_id = b.crm_id and {alive} where c.contact_id = any(%s) and c.entity = %s"
                    " and not exists (select from {own} k where k.crm_id = b.crm_id)"
                ).format(
                    base=ident(stream.connection, f"{lead}_base"),
                    mirror=ident(stream.connection, lead),
                    own=base_table(stream),
                    alive=alive("m"),
                ),
                [list(hub_ids), lead],
            ).fetchall()
        )
    return found
