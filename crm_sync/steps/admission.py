"""The gate of an approved plan: a record is written if what is decided about it now is, field by field, what was
approved; else it is refused as a whole, with what has moved.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import psycopg

from crm_sync.core.approval import PlanRow, moved
from crm_sync.core.decide import Kind, Verdict
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import holds, mirror, plan_rows, plans
from crm_sync.hub.dirty import Entry
from crm_sync.hub.intents import Intent
from crm_sync.hub.plans import Plan
from crm_sync.hub.store import Store
from crm_sync.steps import planning
from crm_sync.steps.gate import Gate
from crm_sync.steps.linking import Linker
from crm_sync.steps.options import Options, Report
from crm_sync.steps.planned import rows_of
from crm_sync.steps.proposal import as_planned, of_plan
from crm_sync.steps.work import Work, taken


class Admission(Gate):
    """Lets through what is left of `plan`."""

    narrow = True

    def __init__(self, store: Store, plan: Plan) -> None:
        self.store = store
        self.plan = plan

    def entries(self, stream: StreamSpec, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Of the plan, unless it has ended, without what the guard holds back and the plan did not say so."""
        plan = plans.get(self.store.conn, self.plan.id)
        if plan is None or plan.status != "approved":
            return ()
        chosen = of_plan(self.store.conn, self.plan.id, stream, entries)
        if any(key.startswith(f"{stream.name} ") for key in self.plan.guard):
            return chosen
        held = holds.waiting(self.store.conn, stream, [e.hub_id for e in chosen if e.hub_id is not None])
        return [e for e in chosen if e.hub_id not in held]

    def links(self, work: Work, crm_ids: Iterable[str]) -> set[str]:
        """Tried first, in a savepoint: which of them would get the link, or become the record, that was approved. What
        the CRM says of them is held still until the transaction ends."""
        wanted = sorted(crm_ids)
        mirror.held(work.conn, work.stream, wanted, lock=True)
        trial = Work(self.store, work.stream, Options(dry_run=True), Report())
        with work.conn.transaction() as attempt:
            Linker(trial).link(wanted)
            raise psycopg.Rollback(attempt)
        found: dict[str, list[PlanRow]] = {}
        for row in trial.report.plan:
            found.setdefault(row.record, []).append(row)
        planned: dict[str, list[PlanRow]] = {}
        for row in plan_rows.of_unlinked(work.conn, self.plan.id, work.stream, wanted):
            planned.setdefault(row.record, []).append(row)
        why = {
            rows[0].key: said
            for crm_id, rows in planned.items()
            if (said := moved(rows, found.get(crm_id, ())))
        }
        plan_rows.refuse(work.conn, self.plan.id, work.stream.name, why)
        return {crm_id for crm_id, rows in planned.items() if rows[0].key not in why}

    def takes(self, work: Work, movable: list[Verdict]) -> list[Verdict]:
        found: dict[str, list[PlanRow]] = {str(v.difference.hub_id): [] for v in movable}
        for v in movable:
            if v.kind is Kind.TAKE:
                found[str(v.difference.hub_id)].append(taken(work.stream, v))
        refused = self._refuse(work.conn, work.stream, "hub", found)
        return [v for v in movable if str(v.difference.hub_id) not in refused]

    def carries(self, work: Work, planned: list[PlanRow]) -> list[PlanRow]:
        keys = [row.key for row in planned]
        approved = plan_rows.of_records(work.conn, self.plan.id, work.stream, "hub", keys)
        return [row for row in planned if row in approved[row.key]]

    def writes(self, stream: StreamSpec, made: planning.Plan) -> None:
        """What is new in the hub since, or got the id that it was to refer to, is not written either: a create goes as it
        was approved, and what is missing follows with the next plan."""
        conn = self.store.conn
        intents = as_planned(conn, self.plan.id, stream, made)
        found: dict[str, list[PlanRow]] = {str(i.hub_id): [] for i in intents}
        for row in rows_of(conn, stream, intents):
            found[row.key].append(row)
        refused = self._refuse(conn, stream, "crm", found)
        made.open |= {i.hub_id for i in intents if str(i.hub_id) in refused}
        made.intents = [self._noted(i) for i in intents if str(i.hub_id) not in refused]

    def _noted(self, intent: Intent) -> Intent:
        """With the plan in the journal's reason."""
        note = self.plan.note
        reasons = {name: f"{reason}{note}" for name, reason in intent.reasons.items()}
        if intent.kind == "create":
            reasons[""] = f"{intent.reasons.get('', 'new in the hub')}{note}"
        elif not intent.sent:
            reasons[""] = f"{intent.reasons.get('', '')}{note}"
        return replace(intent, reasons=reasons)

    def _refuse(
        self, conn: psycopg.Connection, stream: StreamSpec, target: str, found: dict[str, list[PlanRow]]
    ) -> set[str]:
        """The records of which something else would be written than was approved; they are refused."""
        planned = plan_rows.of_records(conn, self.plan.id, stream, target, list(found))
        why: dict[str, str] = {}
        for key, rows in found.items():
            # The hub step asks about whole records and about fields apart, when links and new records are made already.
            about = {row.field == "" for row in rows}
            now = [
                row
                for row in planned[key]
                if target == "crm" or (row.action not in ("link", "create") and (row.field == "") in about)
            ]
            said = moved(now, rows)
            if said:
                why[key] = said
        plan_rows.refuse(conn, self.plan.id, stream.name, why)
        return set(why)
