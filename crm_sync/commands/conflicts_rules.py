"""`crm-sync conflicts rules` and `reopen`: decisions that hold for more than one conflict, and those withdrawn."""

from dataclasses import asdict

from crm_sync.commands import console
from crm_sync.commands.workspace import workspace
from crm_sync.hub import rules
from crm_sync.hub.store import Store
from crm_sync.steps import resolve as steps
from crm_sync.steps.person import person


def listed(*, ended: bool, as_json: bool) -> None:
    """Show the rules in force; `ended`: also those that were."""
    with Store(workspace().database()) as store:
        found = rules.find(store.conn, ended=ended)
    if as_json:
        console.document([asdict(row) for row in found])
        return
    if not found:
        console.out.print("no rules")
        return
    columns = ("rule", "field", "decision", "only when", "made by", "made (UTC)", "from conflict")
    table = console.table(*columns, *(("ended by",) if ended else ()), numbers=("rule", "from conflict"))
    for row in found:
        cells = [
            str(row.id),
            f"{row.connection}/{row.entity} {row.field}",
            row.decision,
            "" if row.only_when == "any" else row.only_when.replace("_", " "),
            row.made_by,
            f"{row.made_at:%Y-%m-%d %H:%M:%S}",
            str(row.from_conflict or ""),
        ]
        table.add_row(*map(console.value, [*cells, *([row.ended_by or ""] if ended else [])]))
    console.out.print(table)


def end(number: int) -> None:
    """End a rule. Raises SyncError if it is not in force."""
    with Store(workspace().database()) as store, store.transaction() as conn:
        rules.end(conn, number, person())
    console.out.print(f"rule #{number} is ended; what it has decided stays as it is")


def reopen(numbers: list[int]) -> None:
    """Withdraw decisions that are not applied yet. Raises SyncError at the first that cannot be."""
    here = workspace()
    with Store(here.database()) as store:
        for number in numbers:
            steps.reopen(store, here.system, number)
            console.out.print(f"conflict {number} is open again")
