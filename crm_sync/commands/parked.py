"""`crm-sync parked`: the records that do not go on, by what has to be done, and the word that has them tried again."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from crm_sync.commands import console
from crm_sync.commands.workspace import Workspace, workspace
from crm_sync.core.catalogue import Owner
from crm_sync.core.errors import SyncError
from crm_sync.hub import parked_list
from crm_sync.hub.parked_list import Group, Listed, Which
from crm_sync.hub.store import Store


def listed(connection: str, entity: str, code: str, owner: str, *, limit: int, as_json: bool) -> int:
    """Show the reasons that match. Returns 1 if any is parked, else 0.

    Raises SyncError for a connection, entity or owner that there is none of.
    """
    here = workspace()
    which = _which(here, (), connection, entity, code, owner)
    with Store(here.database()) as store:
        groups = parked_list.groups(store.conn, which)
        found = parked_list.find(store.conn, which, limit=limit)
    if as_json:
        document = {
            "groups": [asdict(group) for group in groups],
            "parked": [asdict(one) for one in found],
        }
        console.document(document)
    elif groups:
        console.out.print(_groups(groups))
        console.out.print()
        console.out.print(_records(found))
    else:
        console.out.print("nothing is parked")
    return int(any(group.parked for group in groups))


def requeue(
    numbers: Sequence[int], connection: str, entity: str, code: str, owner: str, *, everything: bool
) -> None:
    """Mark what matches, and say how many records that are.

    Raises SyncError if nothing says which, if a number is not there, or as `listed` does.
    """
    here = workspace()
    which = _which(here, numbers, connection, entity, code, owner)
    if (which == Which()) != everything:
        raise SyncError(
            "say which: numbers from `crm-sync parked list`, --connection, --entity, --code or --owner; or --all alone"
        )
    with Store(here.database()) as store:
        there = {one.id for one in parked_list.find(store.conn, Which(ids=which.ids))} if numbers else set()
        if missing := sorted(set(numbers) - there):
            raise SyncError(
                f"nothing is parked under {', '.join(map(str, missing))} (any more); see `crm-sync parked list`"
            )
        number = store.committed(lambda conn: parked_list.requeue(conn, which))
    console.out.print(
        f"{number:,} record{' is' if number == 1 else 's are'} queued: the next sync tries {'it' if number == 1 else 'them'}"
        if number
        else "nothing is parked that matches"
    )


def _which(
    here: Workspace, numbers: Sequence[int], connection: str, entity: str, code: str, owner: str
) -> Which:
    if connection:
        here.connection(connection)
    if entity and entity not in here.system.entities:
        raise SyncError(f"there is no entity {entity!r}; there are: {', '.join(here.system.entities)}")
    if owner and owner not in set(Owner):
        raise SyncError(f"there is no owner {owner!r}; there are: {', '.join(Owner)}")
    return Which(tuple(numbers), connection, entity, code, owner)


def _groups(groups: Sequence[Group]) -> Table:
    table = console.table("records", "stream", "code", "who", "what to do", numbers=("records",))
    for group in groups:
        table.add_row(
            f"{group.records:,}",
            f"{group.connection}/{group.entity}",
            Text(group.code),
            group.owner or "",
            Text(group.fix or ""),
        )
    return table


def _records(found: Sequence[Listed]) -> Table:
    table = console.table(
        "id", "record", "field", "code", "tries", "state", "since (UTC)", "why", numbers=("id", "tries")
    )
    for one in found:
        again = f" until {one.next_try:%H:%M}" if one.state == "waits" and one.next_try else ""
        table.add_row(
            str(one.id),
            Text(f"{one.connection}/{one.entity} {one.record_id}"),
            one.field,
            Text(one.code),
            str(one.attempts),
            f"{one.state}{again}",
            f"{one.first_at:%Y-%m-%d %H:%M}",
            Text(one.reason),
        )
    return table
