"""References that are undone: what a CRM's old reference is in the hub, and what the hub's is in each CRM."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from psycopg import Connection

from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec, System
from crm_sync.core.undo import Touched
from crm_sync.hub import undo_now


def resolved(
    conn: Connection,
    found: Sequence[Touched],
    streams: Mapping[str, StreamSpec],
    specs: Mapping[tuple[str, str], FieldSpec],
) -> list[Touched]:
    """Old references of a CRM in the hub's terms."""
    wanted: dict[tuple[str, str], set[str]] = {}
    for t in found:
        spec = specs.get((t.first_connection, t.field))
        if t.first_side == "crm" and t.first_old is not None and spec is not None and spec.entity is not None:
            wanted.setdefault((t.first_connection, spec.entity), set()).add(t.first_old)
    known = {key: undo_now.hub_ids(conn, streams[key[0]], key[1], sorted(ids)) for key, ids in wanted.items()}
    told = []
    for t in found:
        spec = specs.get((t.first_connection, t.field))
        ids = known.get((t.first_connection, spec.entity or ""), {}) if spec is not None else {}
        is_crm = t.first_side == "crm" and t.first_old is not None
        told.append(replace(t, first_as_hub=ids.get(t.first_old or "")) if is_crm and ids else t)
    return told


def targets_of(
    conn: Connection,
    system: System,
    found: Sequence[Touched],
    streams: Mapping[str, StreamSpec],
    fields: Mapping[str, FieldSpec],
) -> dict[tuple[str, str], dict[str, str]]:
    """Hub ids that references go back to, in each CRM's terms: by connection and referenced entity."""
    wanted: dict[str, set[str]] = {}
    for t in found:
        spec = fields.get(t.field)
        if spec is not None and spec.type is FieldType.REFERENCE and spec.entity is not None:
            value = t.first_old if t.first_side == "hub" else t.first_as_hub
            wanted.setdefault(spec.entity, set()).update([value] if value else [])
    return {
        (name, entity): undo_now.crm_ids(conn, stream, entity, sorted(ids))
        for name, stream in streams.items()
        for entity, ids in wanted.items()
        if any(other.entity == entity for other in system.connection(name).streams)
    }
