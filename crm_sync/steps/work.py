"""What the parts of the hub step share while they work on one chunk."""

from dataclasses import dataclass, field

import psycopg

from crm_sync.core.approval import PlanRow
from crm_sync.core.decide import Verdict
from crm_sync.core.deletes import PRESENCE
from crm_sync.core.spec import FieldType, StreamSpec
from crm_sync.hub.parked import Parked
from crm_sync.hub.store import Store
from crm_sync.steps.options import Options, Report


@dataclass(slots=True)
class Work:
    """One chunk of a stream in its transaction; `failed` are the records that could not go on, and why."""

    store: Store
    stream: StreamSpec
    options: Options
    report: Report
    failed: list[Parked] = field(default_factory=list)

    @property
    def conn(self) -> psycopg.Connection:
        return self.store.conn

    def plan(
        self,
        action: str,
        record: str,
        name: str,
        old: str | None,
        new: str | None,
        reason: str,
        *,
        hub_id: str | None = None,
        crm_id: str | None = None,
        verdict: str = "take",
    ) -> None:
        """Add a write to the hub to the plan of a dry run; without a name it is about the record. Its id is the hub's,
        unless `crm_id` says that the plan knows it by the CRM's."""
        policy = next((str(spec.policy) for spec in self.stream.fields if spec.name == name), "")
        hub_id = hub_id or (record if crm_id is None else None)
        self.report.plan.append(
            PlanRow(
                self.stream.name, "hub", action, record, name, old, new, reason, hub_id, crm_id,
                verdict=verdict, policy=policy,
            )
        )  # fmt: skip

    def take(self, verdict: Verdict) -> None:
        """Add a take to the plan of a dry run."""
        self.report.plan.append(taken(self.stream, verdict))


_ACTIONS = {"archived": "archive", "deleted": "delete", "present": "restore"}


def taken(stream: StreamSpec, v: Verdict) -> PlanRow:
    """A take as a row of a plan. What a reference leads to is told by the CRM's id: it may be new in the hub itself."""
    d = v.difference
    if d.field == PRESENCE:
        return PlanRow(
            stream.name, "hub", _ACTIONS[v.value or ""], str(d.hub_id), "", d.hub_now, v.value, v.reason, str(d.hub_id),
            d.crm_id, d.hub_then, d.crm_then, str(v.kind), f"deletes: {stream.deletes.inbound}",
        )  # fmt: skip
    spec = stream.field(d.field)
    new = d.crm_now if spec.type is FieldType.REFERENCE else v.value
    return PlanRow(
        stream.name, "hub", "update", str(d.hub_id), d.field, d.hub_now, new, v.reason, str(d.hub_id), d.crm_id,
        d.hub_then, d.crm_then, str(v.kind), str(spec.policy),
    )  # fmt: skip
