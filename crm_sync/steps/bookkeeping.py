"""The gate of a step whose writes wait for approval: it writes nothing that a plan would have to list, and keeps the books.

What both sides agree on moves the base, refusals are parked, what a person has to decide is shown, and marks of records
with nothing to do leave the queue. Else the base would grow old behind the gate, and a later edit would look like an old
one. What would be written stays marked, for the next plan.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

import psycopg
from psycopg import sql

from crm_sync.core.approval import PlanRow
from crm_sync.core.decide import Kind, Verdict
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import mirror, parked
from crm_sync.hub.sql import base_table
from crm_sync.steps import planning
from crm_sync.steps.gate import Gate
from crm_sync.steps.linking import Linker
from crm_sync.steps.options import Report
from crm_sync.steps.work import Work


class Bookkeeping(Gate):
    """Lets nothing through. only: the records that the step is limited to. The guard has nothing to count here."""

    narrow = True

    def __init__(self, only: Sequence[UUID] | None = None) -> None:
        self.only = only

    def chosen(self, only: Sequence[UUID] | None) -> Sequence[UUID] | None:  # noqa: ARG002
        return self.only

    def links(self, work: Work, crm_ids: Iterable[str]) -> set[str]:
        """Those that get no link: a value or a match stands in the way, and that is shown. Tried in a savepoint, and once
        more without the others, for one of two records may get a link because the other does not."""
        asked = set(crm_ids)
        mirror.held(work.conn, work.stream, sorted(asked), lock=True)
        left = asked
        while left and (linked := self._linked(work, left)):
            left = left - linked
        # What stood in the way of the others does so no more: they wait for the plan.
        parked.replace(work.conn, work.stream, "crm", asked - left, [], work.store.run_id)
        return left

    def takes(self, work: Work, movable: list[Verdict]) -> list[Verdict]:  # noqa: ARG002
        return [v for v in movable if v.kind is Kind.CONVERGED]

    def carries(self, work: Work, planned: list[PlanRow]) -> list[PlanRow]:  # noqa: ARG002
        return []

    def writes(self, stream: StreamSpec, made: planning.Plan) -> None:  # noqa: ARG002
        """They stay marked; why they could not be sent is known until the CRM has answered."""
        waits = {i.hub_id for i in made.intents}
        made.open |= waits
        made.looked_at -= waits
        made.intents = []

    def _linked(self, work: Work, crm_ids: Iterable[str]) -> set[str]:
        """Those of these records that would get a link now."""
        wanted = sorted(crm_ids)
        trial = Work(work.store, work.stream, work.options, Report())
        with work.conn.transaction() as attempt:
            Linker(trial).link(wanted)
            rows = work.conn.execute(
                sql.SQL("select crm_id from {} where crm_id = any(%s)").format(base_table(work.stream)),
                [wanted],
            ).fetchall()
            raise psycopg.Rollback(attempt)
        return {row[0] for row in rows}
