"""Approval in the UI: the check `approval` on `hub/<entity>`, and the job `apply_plan`.

Where a connection file says that writes wait, the outbound asset makes the plan that lists them, and writes what was
approved. The check shows the plans that wait; it is there for such entities only, and only a warning.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from crm_sync.assets import names, tables
from crm_sync.assets.failures import RETRY, told
from crm_sync.connectors.crm import Crm
from crm_sync.core.errors import SyncError
from crm_sync.core.spec import StreamSpec, System
from crm_sync.hub import plan_rows, plans
from crm_sync.hub.plans import Plan
from crm_sync.hub.store import Store
from crm_sync.resources.connections import Connections
from crm_sync.resources.hub import Hub
from crm_sync.settings import Settings
from crm_sync.steps.apply import Applied, apply, of_stream
from crm_sync.steps.options import Options, Report
from crm_sync.steps.person import person
from crm_sync.steps.proposal import refresh

_COLUMNS = ("plan", "streams", "writes", "records", "calls", "status", "approve", "guard", "made (UTC)")
_REFUSED = ("stream", "record", "moved")


def checks(system: System, settings: Settings) -> list[dg.AssetChecksDefinition]:
    """One check per entity of which some writes wait for approval."""
    masking = tables.Masking(system, settings)
    return [_check(system, entity, masking) for entity in system.entities if _waits(system, entity)]


def _waits(system: System, entity: str) -> bool:
    return any(stream.approval for stream in system.of_entity(entity))


def _check(system: System, entity: str, masking: tables.Masking) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=names.hub_key(entity),
        name=names.APPROVAL,
        description=f"Writes of {entity} that wait until somebody has approved their plan: `crm-sync plan approve`, or the"
        f" job `{names.APPLY_PLAN}` with the plan's number.",
        blocking=False,
        pool=names.hub_pool(entity),
        retry_policy=RETRY,
    )
    def approval_of(hub: dg.ResourceParam[Hub]) -> dg.AssetCheckResult:
        with told(f"hub {entity}, approval"):
            passed, next_steps, found = _evaluation(hub, system, entity, masking)
            return dg.AssetCheckResult(
                passed=passed,
                severity=dg.AssetCheckSeverity.WARN,
                description=next_steps,
                metadata=found,
            )

    return approval_of


def work_off(
    hub: Hub,
    store: Store,
    system: System,
    crm: Callable[[str], Crm],
    stream: StreamSpec,
    flags: Options,
    report: Report,
) -> None:
    """Behind the steps of a stream whose writes wait: apply what was approved, and bring the plan up to date that lists
    what waits now. Of other streams, and in a dry run, nothing.

    Raises SyncError if an approved plan could not be finished for this connection.
    """
    if not stream.approval or flags.dry_run:
        return
    failures: list[str] = []
    for plan in of_stream(store, stream):
        done = apply(store, system, crm, plan.id)
        report.notes.append(f"approval: {said(done)}")
        report.add("plan_written", done.written)
        report.add("plan_refused", done.refused)
        for name, why in done.failures.items():
            told = f"plan {plan.id} is not finished: {why}"
            if name.startswith(f"{stream.connection}/"):
                failures.append(told)
            else:  # the runs of that connection fail, and go on with it
                report.notes.append(f"approval: {told}")
        for one in done.reports.values():
            report.calls |= {
                family: report.calls.get(family, 0) + number for family, number in one.calls.items()
            }
    waiting = refresh(hub.url, stream, crm(stream.connection), run_id=store.run_id)
    report.add("waits_for_approval", waiting.rows if waiting is not None else 0)
    if waiting is not None:
        report.notes.append(f"approval: {sentence(waiting)}")
    if failures:
        raise SyncError("; ".join(dict.fromkeys(failures)))


def sentence(plan: Plan) -> str:
    """`12 writes wait for approval: plan 17`."""
    one = plan.rows == 1
    return f"{plan.rows:,} write{'' if one else 's'} wait{'s' if one else ''} for approval: plan {plan.id}"


def said(done: Applied) -> str:
    """What came of an approved plan, in a sentence."""
    return (
        f"{done.plan.said}: {done.written:,} of {done.plan.rows:,} writes made, {done.refused:,} refused"
        f" ({done.records_refused:,} records that have moved), {done.waiting:,} still to be made"
    )


@contextmanager
def reported(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    hub: Hub,
    system: System,
    entity: str,
    masking: tables.Masking,
) -> Iterator[None]:
    """The check is up to date behind the block."""
    try:
        yield
    finally:
        if _waits(system, entity):
            passed, next_steps, found = _evaluation(hub, system, entity, masking)
            context.instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=names.hub_key(entity),
                    check_name=names.APPROVAL,
                    passed=passed,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=next_steps,
                    metadata=found,
                )
            )


def _evaluation(
    hub: Hub, system: System, entity: str, masking: tables.Masking
) -> tuple[bool, str, tables.Metadata]:
    """Whether nothing waits for a person; what does, with the commands; and the plans, with some of their rows."""
    streams = {stream.name for stream in system.of_entity(entity) if stream.approval}
    with hub.reading() as conn:
        found = [plan for plan in plans.find(conn) if not streams.isdisjoint(plan.streams)]
        waiting = [plan for plan in found if plan.status == "proposed"]
        rows = list(plan_rows.read(conn, waiting[-1].id, limit=tables.PLAN_ROWS)) if waiting else []
    shown = "; ".join(sentence(plan) for plan in waiting) or "nothing waits for approval"
    told = f"{shown[0].upper()}{shown[1:]}."
    if waiting:  # no command that approves: who copies the lines would have approved before looking
        told += (
            f" `crm-sync plan approve`, or the job `{names.APPLY_PLAN}`, lets it be written. All of it shows:"
        )
    commands = [f"crm-sync plan show {plan.id}" for plan in waiting]
    return (
        not waiting,
        tables.said(told, commands),
        {
            "waiting": dg.MetadataValue.int(sum(plan.rows for plan in waiting)),
            "said": dg.MetadataValue.text(shown),
            "plans": tables.table([_row(plan) for plan in found], _COLUMNS),
            "writes": tables.plan_table(rows, masking),
        },
    )


def _row(plan: Plan) -> dict[str, str | int | None]:
    return {
        "plan": plan.id,
        "streams": ", ".join(plan.streams),
        "writes": plan.rows,
        "records": plan.records,
        "calls": sum(number for families in plan.calls.values() for number in families.values()),
        "guard": "; ".join(plan.guard.values()),
        "made (UTC)": f"{plan.made_at:%Y-%m-%d %H:%M:%S}",
        "status": plan.status if plan.decided_by is None else f"{plan.status} by {plan.decided_by}",
        "approve": f"crm-sync plan approve {plan.id}" if plan.status == "proposed" else "",
    }


class ApplyConfig(dg.Config):
    """Which plan is approved, by whom."""

    plan: int = Field(
        default=0, description="Number of the plan, from the check `approval` or `crm-sync plan list`."
    )
    by: str = Field(default="", description="Who approves it. Empty: the user that Dagster knows.")


def apply_job(system: System, settings: Settings) -> dg.JobDefinition:
    """The job that approves a plan (if that is not done yet) and applies it; the checks are up to date behind it."""
    masking = tables.Masking(system, settings)

    @dg.op(
        name="approve_and_apply", out=dg.Out(dg.Nothing), description="Approve a plan and make its writes."
    )
    def apply_op(
        context: dg.OpExecutionContext,
        config: ApplyConfig,
        hub: dg.ResourceParam[Hub],
        connections: dg.ResourceParam[Connections],
    ) -> None:
        with told(names.APPLY_PLAN):
            if not config.plan:
                raise SyncError(
                    "say which plan: its number is in the check `approval`, and in `crm-sync plan list`"
                )
            store = hub.store(dry_run=False)
            by = person(config.by.strip() or context.run.tags.get("user", ""))
            plan = plans.get(store.conn, config.plan)
            if plan is None:
                raise SyncError(
                    f"there is no plan {config.plan}; those that wait are in the check `approval`"
                )
            if plan.status == "proposed":
                plans.decide(store.conn, plan.id, "approved", by)
            try:
                done = apply(store, system, connections.crm, plan.id)
            finally:
                for entity in sorted({name.rpartition("/")[2] for name in plan.streams}):
                    with reported(context, hub, system, entity, masking):
                        pass
            context.log.info("%s", said(done))
            context.add_output_metadata(_metadata(store, done))
            if done.failures:
                raise SyncError(
                    "; ".join(f"plan {plan.id} is not finished: {why}" for why in done.failures.values())
                )

    @dg.job(
        name=names.APPLY_PLAN,
        description="Approve a plan and make exactly its writes: give its number, and your name.",
    )
    def apply_plan() -> None:
        apply_op()

    return apply_plan


def _metadata(store: Store, done: Applied) -> tables.Metadata:
    rows: list[dict[str, str | int | None]] = [
        {"stream": one.stream, "record": one.record, "moved": one.moved}
        for one in plan_rows.refused(store.conn, done.plan.id, tables.PLAN_ROWS)
    ]
    return {
        "said": dg.MetadataValue.text(said(done)),
        "written": dg.MetadataValue.int(done.written),
        "refused": dg.MetadataValue.int(done.refused),
        "waiting": dg.MetadataValue.int(done.waiting),
        "refused_records": tables.table(rows, _REFUSED),
    }
