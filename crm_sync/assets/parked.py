"""The check `parked` on `<connection>/outbound/<entity>`: the records of a stream that do not go on, why, what to do and who
does it; and the job `requeue_parked`, which has them tried again.

A warning that holds nothing up: the others go on. Values are never shown, and no reason holds one.
"""

import re

import dagster as dg
from pydantic import Field

from crm_sync.assets import links, names, tables
from crm_sync.assets.failures import RETRY, told
from crm_sync.core.catalogue import Owner
from crm_sync.core.errors import SyncError
from crm_sync.core.spec import StreamSpec, System
from crm_sync.hub import parked_list
from crm_sync.hub.parked_list import Group, Listed, Which
from crm_sync.resources.hub import Hub
from crm_sync.settings import Settings

_LONGEST = 600
"""Characters of a cell: the sentences have to be read to their end."""
_GROUPS = ("records", "code", "who", "what to do", "cause", "tried again")
_RECORDS = ("id", "record", "field", "code", "why", "state", "tries", "since (UTC)", "side")
"""No more than a screen has room for; who mends it stands by its code."""


def checks(system: System, settings: Settings) -> list[dg.AssetChecksDefinition]:
    """One check per stream."""
    return [_check(stream, settings) for stream in system.streams]


def _check(stream: StreamSpec, settings: Settings) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=names.outbound_key(stream),
        name=names.PARKED,
        description=f"Records of {stream.entity} that {stream.connection} or the hub refuses: by code, with what to do and"
        " who does it. `crm-sync parked requeue` or the job `requeue_parked` has them tried again.",
        blocking=False,
        pool=stream.connection,
        retry_policy=RETRY,
        op_tags={names.CONNECTION_TAG: stream.connection},
    )
    def parked_of(hub: dg.ResourceParam[Hub]) -> dg.AssetCheckResult:
        which = Which(connection=stream.connection, entity=stream.entity)
        with told(f"{stream.name}, parked"), hub.reading() as conn:
            groups = parked_list.groups(conn, which)
            found = parked_list.find(conn, which, limit=settings.review_rows) if groups else []
        return dg.AssetCheckResult(
            passed=not any(group.parked for group in groups),
            severity=dg.AssetCheckSeverity.WARN,
            description=_said(stream, groups),
            metadata=_metadata(groups, found),
        )

    return parked_of


def _said(stream: StreamSpec, groups: list[Group]) -> str:
    parked = sum(group.parked for group in groups)
    if not parked:
        return "Nothing is parked."
    which = f"--connection {stream.connection} --entity {stream.entity}"
    return tables.said(
        f"{parked:,} {'record is' if parked == 1 else 'records are'} parked. What was corrected in the hub or the CRM is"
        " tried again by itself; the rest, once its cause is mended:",
        [
            f"crm-sync parked requeue {which} --code {group.code}"
            for group in groups
            if group.parked
            and group.owner != Owner.NOBODY
            and re.fullmatch(r"\w+", group.code)  # CRMs make codes up
        ],
    )


def _metadata(groups: list[Group], found: list[Listed]) -> tables.Metadata:
    parked = sum(group.parked for group in groups)
    return {
        "parked": dg.MetadataValue.int(parked),
        "waits": dg.MetadataValue.int(sum(group.records for group in groups) - parked),
        "shown": dg.MetadataValue.text(tables.shown(len(found), sum(group.reasons for group in groups))),
        "codes": tables.table([_group(group) for group in groups], _GROUPS),
        "records": tables.table([_record(one) for one in found], _RECORDS),
    }


def _group(group: Group) -> dict[str, str | int | None]:
    return {
        "records": group.records,
        "code": links.plain(group.code),
        "who": group.owner or "",
        "what to do": group.fix or "",
        "cause": group.cause or "",
        "tried again": group.retryable or "",
    }


def _record(one: Listed) -> dict[str, str | int | None]:
    return {
        "id": one.id,
        "side": one.side,
        "record": one.record_id,
        "field": one.field,
        "code": links.plain(one.code),
        "state": f"waits until {one.next_try:%Y-%m-%d %H:%M:%S} UTC" if one.next_try else one.state,
        "tries": one.attempts,
        "since (UTC)": f"{one.first_at:%Y-%m-%d %H:%M:%S}",
        "why": links.plain(one.reason, longest=_LONGEST),
    }


class RequeueConfig(dg.Config):
    """Which parked records are tried again: those that match everything given."""

    ids: str = Field(default="", description="Numbers from the check's table, separated by commas.")
    connection: str = Field(default="", description="Only records of this connection.")
    entity: str = Field(default="", description="Only records of this entity.")
    code: str = Field(default="", description="Only records that are parked with this code.")
    owner: str = Field(default="", description="Only what this one can mend, for example: CRM admin.")
    everything: bool = Field(default=False, description="All of them; then nothing else is given.")


def requeue_job() -> dg.JobDefinition:
    """The job: it marks the records, and the next sync tries them."""

    @dg.op(name="requeue", out=dg.Out(dg.Nothing), description="Have parked records tried again.")
    def requeue_op(context: dg.OpExecutionContext, config: RequeueConfig, hub: dg.ResourceParam[Hub]) -> None:
        with told(names.REQUEUE):
            which = _which(config)
            number = hub.store(dry_run=False).committed(lambda conn: parked_list.requeue(conn, which))
            context.add_output_metadata({"queued": dg.MetadataValue.int(number)})

    @dg.job(
        name=names.REQUEUE,
        description="Have parked records tried again by the next sync, because something has changed that it does not see.",
    )
    def requeue_parked() -> None:
        requeue_op()

    return requeue_parked


def _which(config: RequeueConfig) -> Which:
    try:
        ids = tuple(int(part) for part in config.ids.replace(",", " ").split())
    except ValueError:
        raise SyncError("ids: whole numbers separated by commas, as the check `parked` shows them") from None
    which = Which(ids, config.connection, config.entity, config.code, config.owner)
    if (which == Which()) != config.everything:
        raise SyncError(
            "say which: ids, or at least one of connection, entity, code, owner; or everything alone"
        )
    return which
