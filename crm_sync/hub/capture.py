"""Change capture on the hub tables: which records changed, which fields, when and by whom.

The triggers run once per statement over transition tables, so an application's UPDATE of one row pays for one
function call and one mark per stream, and an UPDATE of 10^5 rows for one set-based statement each. A merge of ours
names itself with the setting `crm_sync.actor` (the connection whose values it applies): it then writes the
provenance itself, with the CRM's times, and its own stream is not marked.

A deleted row is kept in its tombstone, so that it can be brought back. A reference that Postgres sets null because its
target was deleted is nobody's blank: it is noted in `sync.let_go`, and is set again when the target comes back.

The function keeps its plans for the length of an application's session, and a plan that was made for one row joins
10^5 old to 10^5 new rows by a nested loop: minutes. Hence no nested loops in it. Nor JIT, which would compile a plan
made for 10^5 rows again for each single row.
"""

from collections.abc import Sequence

from psycopg import sql

from crm_sync.core.spec import FieldSpec, FieldType
from crm_sync.hub.sql import hub_table, ident

_BODY = """
create or replace function {function}() returns trigger language plpgsql
set enable_nestloop = off set jit = off as $capture$
declare actor text := coalesce(nullif(current_setting('crm_sync.actor', true), ''), 'hub');
begin
  if tg_op = 'DELETE' then
    insert into sync.tombstone (entity, hub_id, deleted_by, row) select {entity}, o.id, actor, to_jsonb(o) from old_rows o
      on conflict (entity, hub_id) do update set deleted_at = excluded.deleted_at, deleted_by = excluded.deleted_by,
        row = excluded.row;
    delete from sync.let_go where entity = {entity} and hub_id = any (array(select id from old_rows));
    {mark_old};
    return null;
  end if;
  if tg_op = 'INSERT' then
    if actor = 'hub' then
      insert into sync.provenance (entity, hub_id, field, changed_at, changed_by)
        select {entity}, n.id, '*', now(), actor from new_rows n
        on conflict (entity, hub_id, field) do update set changed_at = excluded.changed_at, changed_by = excluded.changed_by;
    end if;
    {mark_new};
    {come_back}
    return null;
  end if;
  {let_go}
  if actor = 'hub' then
    insert into sync.provenance (entity, hub_id, field, changed_at, changed_by)
      select {entity}, n.id, c.field, now(), actor
      from new_rows n join old_rows o on o.id = n.id
      cross join lateral (values {compared}) as c (field, changed)
      where c.changed
      on conflict (entity, hub_id, field) do update set changed_at = excluded.changed_at, changed_by = excluded.changed_by;
  end if;
  {mark_changed};
  return null;
end $capture$;

create or replace function {stamp}() returns trigger language plpgsql as $stamp$
begin
  if new.id <> old.id then
    raise exception 'the id of a hub record cannot be changed: insert a new record instead (hub.%, id %)', tg_table_name, old.id;
  end if;
  new.updated_at := now();
  return new;
end $stamp$;

create or replace trigger crm_sync_stamp before update on {table} for each row execute function {stamp}();
create or replace trigger crm_sync_insert after insert on {table}
  referencing new table as new_rows for each statement execute function {function}();
create or replace trigger crm_sync_update after update on {table}
  referencing new table as new_rows old table as old_rows for each statement execute function {function}();
create or replace trigger crm_sync_delete after delete on {table}
  referencing old table as old_rows for each statement execute function {function}();
"""

_MARK = (
    "insert into sync.mark (stream, by_hub, hub_id) select s.id, true, changed.id from ({changed}) changed"
    " cross join sync.stream s where s.entity = {entity} and s.connection <> actor"
)


# Other tables are asked by arrays of ids, and so by their indexes: a join without nested loops reads all of them.
# Postgres has just set it null: an application that meant to blank it did so while the target was there.
_LET_GO = """
  insert into sync.let_go (entity, hub_id, field, target)
    select {entity}, n.id, {field}, o.{column} from new_rows n join old_rows o on o.id = n.id
    where n.{column} is null and o.{column} is not null and not exists (select from {target} t where t.id = o.{column}
      and t.id = any (array(select x.{column} from new_rows y join old_rows x on x.id = y.id where y.{column} is null)))
    on conflict (hub_id, field, entity) do update set target = excluded.target, at = excluded.at;
  delete from sync.let_go l where l.entity = {entity} and l.field = {field}
    and l.hub_id = any (array(select n.id from new_rows n where n.{column} is not null));
"""
# It comes back to whoever brings the target back, too: their mark must not be left out as that of a value of theirs.
_COME_BACK = """
    if exists (select from sync.let_go l where l.target = any (array(select id from new_rows))) then
      perform set_config('crm_sync.actor', '', true);
      update {child} c set {column} = l.target from sync.let_go l
        where l.target = any (array(select id from new_rows)) and l.entity = {entity} and l.field = {field}
        and c.id = l.hub_id and c.{column} is null
        and c.id = any (array(select g.hub_id from sync.let_go g where g.target = any (array(select id from new_rows))));
      perform set_config('crm_sync.actor', case actor when 'hub' then '' else actor end, true);
    end if;
"""


def capture_trigger(
    entity: str, fields: Sequence[FieldSpec], referring: Sequence[tuple[str, FieldSpec]] = ()
) -> sql.Composed:
    """DDL of the triggers of `hub.<entity>` that watch `fields`; replaces what is there. referring: the fields that
    point to this entity, each with the entity that has it."""
    watched = [*(spec.name for spec in fields), "archived_at"]

    def mark(changed: sql.Composable) -> sql.Composed:
        return sql.SQL(_MARK).format(changed=changed, entity=sql.Literal(entity))

    compared = sql.SQL(", ").join(
        sql.SQL("({}, {} is distinct from {})").format(sql.Literal(f), ident("n", f), ident("o", f))
        for f in watched
    )
    changed = sql.SQL(
        "select n.id from new_rows n join old_rows o on o.id = n.id where ({}) is distinct from ({})"
    ).format(
        sql.SQL(", ").join(ident("n", f) for f in ("id", *watched)),
        sql.SQL(", ").join(ident("o", f) for f in ("id", *watched)),
    )
    references = [spec for spec in fields if spec.type is FieldType.REFERENCE and spec.entity is not None]
    return sql.SQL(_BODY).format(
        function=ident("sync", f"capture_{entity}"),
        stamp=ident("sync", f"stamp_{entity}"),
        table=hub_table(entity),
        entity=sql.Literal(entity),
        compared=compared,
        mark_old=mark(sql.SQL("select id from old_rows")),
        mark_new=mark(sql.SQL("select id from new_rows")),
        mark_changed=mark(changed),
        let_go=sql.SQL("").join(_of_reference(_LET_GO, entity, spec) for spec in references),
        come_back=sql.SQL("").join(_of_reference(_COME_BACK, child, spec) for child, spec in referring),
    )


def _of_reference(statements: str, entity: str, spec: FieldSpec) -> sql.Composed:
    return sql.SQL(statements).format(
        entity=sql.Literal(entity),
        field=sql.Literal(spec.name),
        column=ident(spec.name),
        target=hub_table(spec.entity or ""),
        child=hub_table(entity),
    )
