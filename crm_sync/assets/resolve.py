"""The job `resolve_conflicts`: a person's decision about conflicts, applied at once.

The links of the review table lead to its launchpad, filled in. Only ids, names and times go into the
configuration, which Dagster keeps in clear text.
"""

from collections.abc import Mapping
from typing import Literal

import dagster as dg
from pydantic import Field

from crm_sync.assets import checks, links, names, tables
from crm_sync.assets.failures import told
from crm_sync.core.errors import SyncError
from crm_sync.core.rules import When
from crm_sync.core.spec import Policy, System
from crm_sync.hub.store import Store
from crm_sync.resources.connections import Connections
from crm_sync.resources.hub import Hub
from crm_sync.settings import Settings
from crm_sync.steps import resolve
from crm_sync.steps.person import person

Choice = Literal["use_hub", "use_crm", "skip", "policy"]
Side = Literal["", "hub", "crm"]
Condition = Literal["any", "hub_blank", "crm_blank"]
PolicyName = Literal["most_recent_wins", "hub_wins", "crm_wins", "prefer_crm_unless_blank"]

_TOLD = 20  # conflicts that were not decided, in a sentence


class ResolveConfig(dg.Config):
    """Which conflicts, and how they end."""

    ids: str = Field(default="", description="Numbers from the review table, separated by commas.")
    connection: str = Field(default="", description="Only conflicts of this connection.")
    entity: str = Field(default="", description="Only conflicts of this entity.")
    field: str = Field(default="", description="Only conflicts about this field.")
    older_than: str = Field(
        default="", description="Only conflicts that have had their values for so long: 30m, 12h, 7d, 2w."
    )
    newer: Side = Field(default="", description="Only conflicts of which this side was changed later.")
    blank: Side = Field(default="", description="Only conflicts of which this side is blank.")
    as_of: str = Field(
        default="",
        description="Only conflicts whose values are those of this moment (ISO 8601), when somebody saw them.",
    )
    decision: Choice = Field(
        default="skip",
        description="use_hub: the hub's value goes to the CRM. use_crm: the CRM's value goes into the hub. skip: leave"
        " both as they are until one changes again. policy: each ends as `policy` says.",
    )
    policy: PolicyName = Field(default="most_recent_wins", description="For decision: policy.")
    always: bool = Field(
        default=False,
        description="Make a rule of the decision: disputes about this field of this connection end like this from now on,"
        " and so do the open ones. Ended with `crm-sync conflicts rules --end`.",
    )
    only_when: Condition = Field(
        default="any", description="For always: only if the hub's value, or the CRM's, is blank."
    )
    note: str = Field(default="", description="Why, for the record. No personal data.")


def resolve_job(system: System, settings: Settings) -> dg.JobDefinition:
    """The job; it ends by reporting the check `conflicts` anew, so that the table in the UI is up to date."""

    @dg.op(name=links.OP, out=dg.Out(dg.Nothing), description="Decide conflicts and apply the decisions.")
    def resolve_op(
        context: dg.OpExecutionContext,
        config: ResolveConfig,
        hub: dg.ResourceParam[Hub],
        connections: dg.ResourceParam[Connections],
    ) -> None:
        entities: set[str] = set()
        with told(names.RESOLVE):
            store = hub.store(dry_run=False)
            chosen = selection(config)
            found = resolve.select(store, system, chosen)
            missed, gone = resolve.missed(store, chosen, found)
            entities = {conflict.entity for conflict in (*found, *gone)} & set(system.entities)
            try:
                if missed and not found:
                    raise SyncError(_changed(missed))
                done = resolve.resolve(
                    store,
                    system,
                    connections.crm,
                    found,
                    _decision(config),
                    _person(context, config),
                    always=When(config.only_when) if config.always else None,
                )
                missed = {**missed, **dict.fromkeys(done.changed, "has changed since")}
                if missed and not any(done.decided.values()) and not done.left:
                    raise SyncError(_changed(missed))
            finally:
                for entity in sorted(entities):
                    checks.report(context, hub, system, entity, settings)
        for name, did in done.reports.items():
            context.log.info("%s: %s", name, did.counts)
        shown = metadata(store, len(found), done)
        if missed:
            context.log.warning("%s", _listed(missed))
            shown["not_decided"] = dg.MetadataValue.text(_listed(missed))
        context.add_output_metadata(shown)

    @dg.job(
        name=names.RESOLVE,
        description="Decide conflicts of the review table: give ids or a filter, and a decision.",
    )
    def resolve_conflicts() -> None:
        resolve_op()

    return resolve_conflicts


def selection(config: ResolveConfig) -> resolve.Selection:
    """What the configuration selects. Raises SyncError for ids that are no numbers, ages and times that are none."""
    return resolve.Selection(
        resolve.parse_ids(config.ids),
        config.connection.strip(),
        config.entity.strip(),
        config.field.strip(),
        resolve.parse_age(config.older_than.strip()),
        config.newer,
        config.blank,
        resolve.parse_moment(config.as_of.strip()),
    )


def _changed(missed: Mapping[int, str]) -> str:
    return (
        f"changed since you looked, so nothing was decided: {_listed(missed)}. What is open by now is in the check"
        f" `{names.CHECK}`, and in `crm-sync conflicts list`"
    )


def _listed(missed: Mapping[int, str]) -> str:
    said = [f"conflict {number} {why}" for number, why in list(missed.items())[:_TOLD]]
    return "; ".join([*said, *([f"and {len(missed) - _TOLD:,} more"] if len(missed) > _TOLD else [])])


def _decision(config: ResolveConfig) -> Literal["use_hub", "use_crm", "skip"] | Policy:
    return Policy(config.policy) if config.decision == "policy" else config.decision


def _person(context: dg.OpExecutionContext, config: ResolveConfig) -> str:
    """Who decided: the user that Dagster knows, else the account that runs it; and the note."""
    user = person(context.run.tags.get("user", ""))
    return f"{user} ({config.note.strip()})" if config.note.strip() else user


def metadata(store: Store, found: int, done: resolve.Resolved) -> tables.Metadata:
    """What a run that decided conflicts shows."""
    shown: tables.Metadata = {"selected": dg.MetadataValue.int(found)}
    shown |= {str(name): dg.MetadataValue.int(number) for name, number in done.decided.items()}
    if done.left:
        shown["left_open"] = dg.MetadataValue.text(", ".join(map(str, done.left)))
    if done.later:
        shown["applied_by_the_next_sync_of"] = dg.MetadataValue.text(", ".join(done.later))
    if done.rule is not None:
        shown["rule"] = dg.MetadataValue.text(done.rule.said)
    if store.run_id is not None:
        shown["run"] = dg.MetadataValue.text(store.run_id)
    return shown
