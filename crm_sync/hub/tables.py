"""The tables that follow from the connection files: hub, mirror, base; their triggers and views.

They are created when missing and altered additively when the mapping grows: columns are added, nothing is ever
dropped or retyped. Our own tables, which do not depend on the mapping, are in `migrations/`.
"""

from psycopg import Connection, sql

from crm_sync.core.errors import ConfigError, Problem
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec, System
from crm_sync.hub import similar
from crm_sync.hub.capture import capture_trigger
from crm_sync.hub.differences import create_view
from crm_sync.hub.sql import HUB_TYPES, base_table, hub_table, hub_type, ident, match_key, mirror_table

_LOCK = 0x63726D74  # one process shapes the tables, the others wait


def ensure(conn: Connection, system: System) -> None:
    """Make the database fit `system`, in one transaction.

    Raises ConfigError if a column exists with another type than the mapping now asks for.
    """
    with conn.transaction():
        conn.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        conn.execute("set local client_min_messages = warning")
        for entity in system.entities:
            _hub(conn, system, entity)
        for stream in system.streams:
            conn.execute(sql.SQL("create schema if not exists {}").format(ident(stream.connection)))
            _mirror(conn, stream)
            _base(conn, stream)
        for entity in system.entities:
            fields = tuple(system.hub_fields(entity).values())
            conn.execute(capture_trigger(entity, fields, _referring(system, entity)))
        for stream in system.streams:
            conn.execute(create_view(stream))
        _register(conn, system)


def _referring(system: System, entity: str) -> list[tuple[str, FieldSpec]]:
    """The fields of the hub that point to this entity, each with the entity that has it."""
    return [
        (child, spec)
        for child in system.entities
        for spec in system.hub_fields(child).values()
        if spec.type is FieldType.REFERENCE and spec.entity == entity
    ]


def _hub(conn: Connection, system: System, entity: str) -> None:
    table = hub_table(entity)
    conn.execute(
        sql.SQL(
            "create table if not exists {} (id uuid primary key default gen_random_uuid(),"
            " created_at timestamptz not null default now(), updated_at timestamptz not null default now())"
        ).format(table)
    )
    fields = system.hub_fields(entity)
    existing = _columns(conn, "hub", entity)
    # Every hub table has it: were it there only while a mapping archives, another mapping would bring all back.
    if "archived_at" not in existing:
        _add(conn, table, "archived_at", sql.SQL("timestamptz"))
    elif existing["archived_at"] != "timestamp with time zone":
        raise _wrong_type(
            system, entity, "", f"hub.{entity}.archived_at is {existing['archived_at']}, but it is ours: it must be"
            " timestamptz, and null of every record that is not archived; rename yours",
        )  # fmt: skip
    for spec in fields.values():
        if spec.name in existing:
            _check_type(system, entity, spec, existing[spec.name])
        else:
            _add(conn, table, spec.name, hub_type(spec))
            if spec.type is FieldType.REFERENCE and spec.entity is not None:
                _reference(conn, table, entity, spec.name, spec.entity)
    for name in sorted(
        {name for stream in system.of_entity(entity) for rule in stream.match for name in rule}
    ):
        conn.execute(
            sql.SQL("create index if not exists {} on {} ({})").format(
                ident(f"{entity}_match_{name}"), table, match_key(fields[name], ident(name), typed=True)
            )
        )
    for stream in system.of_entity(entity):
        for block in similar.blocks(stream.similar, stream.fields) if stream.similar is not None else ():
            conn.execute(
                sql.SQL("create index if not exists {} on {} ({})").format(
                    ident(f"{entity}_{'alike' if block[1] else 'match'}_{block[0].name}"),
                    table,
                    sql.SQL(", ").join(similar.keys(block, None, typed=True)),
                )
            )


def _reference(conn: Connection, table: sql.Identifier, entity: str, column: str, target: str) -> None:
    """A foreign key that lets go when the target is deleted, and the index that makes this cheap."""
    conn.execute(
        sql.SQL("alter table {} add foreign key ({}) references {} (id) on delete set null").format(
            table, ident(column), hub_table(target)
        )
    )
    conn.execute(
        sql.SQL("create index if not exists {} on {} ({})").format(
            ident(f"{entity}_{column}"), table, ident(column)
        )
    )


def _mirror(conn: Connection, stream: StreamSpec) -> None:
    table = mirror_table(stream)
    conn.execute(
        sql.SQL(
            'create table if not exists {} (crm_id text collate "C" primary key, modified_at timestamptz,'
            " deleted boolean not null default false, merged_into text, hub_id text, outside boolean not null default false,"
            " lead_converted boolean not null default false, seen_at timestamptz not null default clock_timestamp()) with (fillfactor = 90)"
        ).format(table)
    )
    existing = _columns(conn, stream.connection, stream.entity)
    for flag in ("outside", "lead_converted"):
        if flag not in existing:
            _add(conn, table, flag, sql.SQL("boolean not null default false"))
    for spec in stream.fields:
        if spec.name not in existing:
            _add(conn, table, spec.name, sql.SQL("text"))
    if stream.external_id is not None:  # who carries a hub record's id (`landed.py`)
        conn.execute(  # of what may be an id: an index takes no long texts, and anybody may type one there
            sql.SQL("create index if not exists {} on {} (lower(hub_id)) where length(hub_id) = 36").format(
                ident(f"{stream.entity}_carries_id"), table
            )
        )
    for name in sorted({name for rule in stream.match for name in rule}):
        if stream.field(name).type is not FieldType.REFERENCE:  # matched by its hub id, which is not here
            conn.execute(
                sql.SQL("create index if not exists {} on {} ({})").format(
                    ident(f"{stream.entity}_match_{name}"),
                    table,
                    match_key(stream.field(name), ident(name), typed=False),
                )
            )


def _base(conn: Connection, stream: StreamSpec) -> None:
    table = base_table(stream)
    conn.execute(
        sql.SQL(
            'create table if not exists {} (hub_id uuid primary key, crm_id text collate "C" not null unique,'
            " linked_at timestamptz not null default clock_timestamp(), linked_by text not null,"
            " hub_state text not null default 'present', crm_state text not null default 'present')"
        ).format(table)
    )
    existing = _columns(conn, stream.connection, f"{stream.entity}_base")
    if not {"hub_state", "crm_state"} <= existing.keys():
        for state in ("hub_state", "crm_state"):
            _add(conn, table, state, sql.SQL("text not null default 'present'"))
        _left_apart(conn, stream)
    for spec in stream.fields:
        if f"{spec.name}_hub" not in existing:
            _add(conn, table, f"{spec.name}_hub", hub_type(spec))
            _add(conn, table, f"{spec.name}_crm", sql.SQL("text"))
            _add(conn, table, f"{spec.name}_agreed", sql.SQL("boolean not null default false"))


def _left_apart(conn: Connection, stream: StreamSpec) -> None:
    """What was deleted on one side before deletions were synced stays as it is: it is what both agree on."""
    conn.execute(
        sql.SQL(
            "update {base} b set crm_state = 'deleted' from {mirror} m where m.crm_id = b.crm_id and m.deleted"
        ).format(base=base_table(stream), mirror=mirror_table(stream))
    )
    conn.execute(
        sql.SQL(
            "update {base} b set hub_state = 'deleted' where not exists (select from {hub} h where h.id = b.hub_id)"
        ).format(base=base_table(stream), hub=hub_table(stream.entity))
    )


def _add(conn: Connection, table: sql.Identifier, column: str, column_type: sql.SQL) -> None:
    conn.execute(sql.SQL("alter table {} add column {} {}").format(table, ident(column), column_type))


def _columns(conn: Connection, schema: str, table: str) -> dict[str, str]:
    rows = conn.execute(
        "select a.attname, format_type(a.atttypid, null) from pg_attribute a where a.attrelid = to_regclass(%s)"
        " and a.attnum > 0 and not a.attisdropped",
        [sql.Identifier(schema, table).as_string(conn)],
    ).fetchall()
    return dict(rows)


_SAME_TYPES = {"timestamptz": "timestamp with time zone"}
_COMPATIBLE = {
    "text": {"character varying", "character", "citext"},
    "numeric": {"integer", "bigint", "smallint", "double precision", "real"},
}
"""Column types that a user may have chosen for a hub table that existed before us, and that hold our values."""


def _check_type(system: System, entity: str, spec: FieldSpec, found: str) -> None:
    wanted = HUB_TYPES[spec.type]
    if found in {_SAME_TYPES.get(wanted, wanted), *_COMPATIBLE.get(wanted, set())}:
        return
    raise _wrong_type(
        system,
        entity,
        f".fields.{spec.name}.type",
        f"type {spec.type} needs a column of type {wanted}, but hub.{entity}.{spec.name} is {found};"
        " choose the type that fits the column, or another field name",
    )


def _wrong_type(system: System, entity: str, path: str, message: str) -> ConfigError:
    file = next(c.file for c in system.connections for s in c.streams if s.entity == entity)
    return ConfigError([Problem(file, None, f"entities.{entity}{path}", message)])


def _register(conn: Connection, system: System) -> None:
    """Tell the change triggers which streams there are; a stream that is gone takes its queue with it."""
    keys = [(s.connection, s.entity) for s in system.streams]
    conn.execute(
        "with gone as (delete from sync.stream where (connection, entity) not in"
        " (select * from unnest(%s::text[], %s::text[])) returning id)"
        " delete from sync.mark where stream in (select id from gone)",
        [[c for c, _ in keys], [e for _, e in keys]],
    )
    for stream in system.streams:
        about = [stream.kind, stream.object, stream.direction, stream.connection, stream.entity]
        known = conn.execute(
            "update sync.stream set kind = %s, object = %s, direction = %s where connection = %s and entity = %s",
            about,
        ).rowcount
        if not known:
            conn.execute(
                "insert into sync.stream (kind, object, direction, connection, entity) values (%s, %s, %s, %s, %s)",
                about,
            )
            _mark_all(conn, stream)


def _mark_all(conn: Connection, stream: StreamSpec) -> None:
    """A new stream has to look at every hub record once."""
    conn.execute(
        sql.SQL(
            "insert into sync.mark (stream, by_hub, hub_id) select s.id, true, h.id from sync.stream s cross join {} h"
            " where s.connection = %s and s.entity = %s"
        ).format(hub_table(stream.entity)),
        [stream.connection, stream.entity],
    )
