"""Converted leads, at the end of a chunk of the hub step: its records are linked, and what the CRM said last is taken."""

from collections.abc import Collection, Sequence
from typing import Protocol
from uuid import UUID

import psycopg
from psycopg import Connection

from crm_sync.core.approval import PlanRow
from crm_sync.core.errors import ErrorClass
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import conversion, conversion_partners
from crm_sync.hub.parked import Parked
from crm_sync.steps.work import Work


class Passing(Protocol):
    """What a gate (`gate.py`) says to converted leads."""

    narrow: bool

    def carries(self, work: Work, planned: list[PlanRow]) -> list[PlanRow]: ...


def follow_conversions(work: Work, crm_ids: Collection[str], gate: Passing) -> None:
    """Carry over what hangs on converted leads, as far as these records make it possible and the gate lets it. One index
    probe if the connection has converted none. A plan has it as a link of the lead's; what got its own link just now is in
    the next."""
    conn, connection = work.conn, work.stream.connection
    if not crm_ids or not conversion.concerned(conn, work.stream, sorted(crm_ids)):
        return
    planned = [
        PlanRow(work.stream.name, "hub", "link", str(lead), "", None, None, why, str(lead), verdict="take")
        for lead, why in (conversion.ready(conn, work.stream) if gate.narrow or work.options.dry_run else ())
    ]
    if work.options.dry_run:
        work.report.plan += planned
    conversion.identify(conn, connection)
    work.report.add("converted", conversion.end(conn, connection))
    if gate.narrow:
        conversion.narrow(conn, work.stream, [UUID(row.record) for row in gate.carries(work, planned)])
    with conn.transaction() as carrying:
        carried, refused = conversion.carry(conn, connection, work.store.run_id)
        work.report.add("carried_over", carried)
        work.report.notes.extend(refused)
        if work.options.dry_run:  # it lasts, and an application must not wait for rows that refer to a lead
            raise psycopg.Rollback(carrying)


def held_by_conversions(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> dict[UUID, Parked]:
    """Those of these hub records, which have no link, that must not be created in the CRM, each with the reason: it has
    the lead they come from."""
    found = {}
    for hub_id, crm_id in conversion_partners.waiting(conn, stream, hub_ids).items():
        what = (
            f"it comes from a converted lead, which {stream.connection} has as {crm_id}: that record becomes its partner"
            f" as soon as it is one of {stream.name}"
        )
        found[hub_id] = Parked(
            "hub", str(hub_id), "", ErrorClass.VALIDATION, "CONVERSION_WAITS", what, None, hub_id
        )
    return found
