"""`crm-sync check`: whether the connections work, and whether the accounts have what the connection files name."""

from collections.abc import Iterator, Sequence

from crm_sync.commands import console, drift
from crm_sync.commands.workspace import workspace
from crm_sync.connectors.crm import Crm, FieldInfo, Health, ObjectInfo
from crm_sync.core.errors import CrmError
from crm_sync.core.spec import ConnectionSpec, Direction, FieldSpec, StreamSpec


def check(name: str | None, acknowledged: Sequence[int] = ()) -> int:
    """Check one connection, or all, and accept these changes of their fields. Returns 1 if something is wrong, else 0.

    Raises SyncError if there is no such connection, or no such change."""
    here = workspace()
    chosen = [here.connection(name)] if name else list(here.system.connections)
    url = here.database()
    if acknowledged:
        drift.acknowledge(url, acknowledged)
    wrong = 0
    for connection in chosen:
        with here.crm(connection, url) as crm, console.err.status(f"asking {connection.name}"):
            health = crm.check()
            found = [*health.problems, *(problems(crm, connection) if health.ok else ())]
            changed = drift.changed(url, crm if health.ok else None, connection)
        wrong += len(found) + (not health.ok) + sum(row.waits and row.counts for row in changed)
        _show(connection, health, found)
        drift.show(changed)
    return 1 if wrong else 0


def problems(crm: Crm, connection: ConnectionSpec) -> Iterator[str]:
    """What the account lacks for the streams of the connection, one sentence each."""
    for stream in connection.streams:
        crm.forget(stream.object)  # as it is now, not as it was a quarter of an hour ago
        try:
            info = crm.describe(stream.object)
        except CrmError as error:
            yield f"{stream.entity}: {stream.object} cannot be described: {error}"
            continue
        yield from (f"{stream.entity}: {problem}" for problem in compared(stream, info))


def compared(stream: StreamSpec, info: ObjectInfo) -> Iterator[str]:
    """Mapped fields against what the account shows. Pure."""
    if stream.external_id is not None and stream.external_id not in info.fields:
        yield f"{info.name} has no field {stream.external_id} for our ids; run `crm-sync setup`"
    if stream.record_type is not None and stream.record_type not in info.record_types:
        known = ", ".join(sorted(info.record_types)) or "none"
        yield f"{info.name} has no record type {stream.record_type}; it has: {known}"
    for name in stream.vendor_fields:
        if not name.startswith("association:") and name not in info.fields:
            yield f"{info.name} has no field {name}, or this user may not see it"
    sends = stream.direction is not Direction.INBOUND
    for spec in stream.fields:
        found = info.fields.get(spec.vendor.name)
        if found is not None and sends and spec.direction is not Direction.INBOUND:
            yield from _unfit(spec, found)
    if sends:
        mapped = {*stream.vendor_fields, *stream.constants, stream.external_id}
        for name, found in info.fields.items():
            if found.required and name not in mapped:
                yield f"{name} is required by the CRM and not mapped: records cannot be created"


def _unfit(spec: FieldSpec, found: FieldInfo) -> Iterator[str]:
    if not (found.createable or found.updateable):
        yield f"{spec.name}: {found.name} is read-only; give it `direction: inbound`"
    if found.options is None or spec.to_crm is None:
        return
    unknown = sorted(set(spec.to_crm.values()) - set(found.options))
    if unknown:
        yield f"{spec.name}: {found.name} does not have the values {', '.join(unknown)}"


def _show(connection: ConnectionSpec, health: Health, found: list[str]) -> None:
    verdict = "[bold green]works[/]" if health.ok and not found else "[bold red]has problems[/]"
    console.out.print(f"[bold]{connection.name}[/] {verdict}", markup=True)
    for label, text in (("account", health.account), ("user", health.user), *health.detail.items()):
        if text:
            console.out.print(f"  {label}: {text}", markup=False)
    for problem in found:
        console.out.print(f"  ✗ {problem}", markup=False, soft_wrap=True)
