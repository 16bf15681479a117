"""The tables in which the sync remembers itself, and the functions the derived tables use."""

from alembic import op

revision = "0001"
down_revision = None

FUNCTIONS = r"""
-- One spelling for each number, whatever the CRM prints: 1.50, 1.5E0 and 1.5 are the same. Text that is no
-- number is left as it is; the validation at the hub says what is wrong with it.
create function sync.canon_number(v text) returns text immutable strict parallel safe language sql as $$
    select case when v ~ '^-?[0-9]{1,18}$' then trim_scale(v::numeric)::text
                when v ~ '^[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,2})?$'
                    then trim_scale(v::numeric)::text
                else v end $$;

-- '2026-01-02T03:04:05Z', '…+0000', '…+00:00', with or without milliseconds: all '2026-01-02T03:04:05.000Z'.
create function sync.canon_datetime(v text) returns text immutable strict parallel safe language sql as $$
    select case when v ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$' then v
                when v ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:?00)$'
                    then substr(v, 1, 19) || '.' || rpad(coalesce(substring(v from '\.(\d{1,3})'), ''), 3, '0') || 'Z'
                else v end $$;

create function sync.canon_multi(v text[]) returns text immutable strict parallel safe language sql as $$
    select case when cardinality(v) <= 1 then nullif(btrim(v[1]), '')
                else (select string_agg(x, ';' order by x collate "C")
                      from (select distinct btrim(u) as x from unnest(v) u where btrim(u) <> '') s) end $$;

-- to_char depends on settings in general, but not for these formats: immutable, so that an index can use them.
create function sync.date_text(v date) returns text immutable strict parallel safe language sql as $$
    select to_char(v, 'YYYY-MM-DD') $$;
create function sync.datetime_text(v timestamptz) returns text immutable strict parallel safe language sql as $$
    select to_char(v at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') $$;

-- The form in which values are compared when records are matched. Long ones are hashed: an index entry is short.
create function sync.match_key(field_type text, v text) returns text immutable strict parallel safe language sql as $$
    select case when length(k) <= 200 then k else md5(k) end from (select nullif(case field_type
        when 'url' then regexp_replace(regexp_replace(lower(btrim(v)), '^[a-z]+://(www\.)?|^www\.', ''), '[/?#:].*$', '')
        else lower(btrim(normalize(v, NFKC))) end, '') as k) s $$;
"""

TABLES = """
create table sync.stream (
    connection text not null, entity text not null,
    kind text not null, object text not null, direction text not null,
    primary key (connection, entity));
comment on table sync.stream is 'The streams of the connection files, as last loaded; the change trigger marks records dirty for each.';

create sequence sync.dirty_version;
create table sync.dirty (
    connection text not null, entity text not null,
    side text not null check (side in ('hub', 'crm')),
    record_id text not null,
    version bigint not null default nextval('sync.dirty_version'),
    marked_at timestamptz not null default clock_timestamp(),
    primary key (connection, entity, side, record_id));
create index dirty_queue on sync.dirty (connection, entity, version);
comment on table sync.dirty is 'Records to look at. An entry goes only if its version did not change while it was processed.';

create table sync.provenance (
    entity text not null, hub_id uuid not null, field text not null,
    changed_at timestamptz not null, changed_by text not null,
    primary key (entity, hub_id, field));
comment on table sync.provenance is 'When and by whom each hub field was last changed; field * stands for the whole record at its creation.';

create table sync.tombstone (
    entity text not null, hub_id uuid not null, deleted_at timestamptz not null default now(), deleted_by text not null,
    primary key (entity, hub_id));

create table sync.change (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    run_id text, connection text not null, entity text not null,
    hub_id uuid, crm_id text, field text,
    side text not null check (side in ('hub', 'crm')),
    kind text not null check (kind in ('create', 'update', 'delete', 'link')),
    old_value text, new_value text, reason text not null, answer jsonb);
create index change_record on sync.change (entity, hub_id, id);
create index change_run on sync.change (run_id);
comment on table sync.change is 'Append-only journal: every write to a hub record and to a CRM, with its reason and the CRM''s answer.';

create function sync.append_only() returns trigger language plpgsql as $$
begin raise exception 'sync.change is append-only'; end $$;
create trigger append_only before update or delete on sync.change for each row execute function sync.append_only();

create table sync.intent (
    id bigint generated always as identity primary key,
    connection text not null, entity text not null, hub_id uuid not null, crm_id text,
    kind text not null check (kind in ('create', 'update')),
    sent jsonb not null, hub_values jsonb not null, reasons jsonb not null, old_values jsonb not null,
    run_id text, created_at timestamptz not null default clock_timestamp(),
    unique (connection, entity, hub_id));
comment on table sync.intent is 'Writes that left, or were about to, and whose answer is not known yet. Committed before the call.';

create table sync.lease (
    name text primary key, token bigint not null, holder text, backend int not null,
    taken_at timestamptz not null default clock_timestamp(), renewed_at timestamptz not null default clock_timestamp());
comment on table sync.lease is 'Which run works, or last worked, on a stream; the token grows each time, and a run with an older one cannot write.';

create table sync.job (
    connection text not null, entity text not null, direction text not null,
    state jsonb not null, saved_at timestamptz not null default clock_timestamp(),
    primary key (connection, entity, direction));
comment on table sync.job is 'Long-running jobs at the vendor (Salesforce Bulk API), so that a restarted run goes on with them.';

create table sync.parked (
    id bigint generated always as identity primary key,
    connection text not null, entity text not null,
    side text not null check (side in ('hub', 'crm')),
    record_id text not null, hub_id uuid, crm_id text,
    field text not null default '', error_class text not null, code text not null, value_class text, reason text not null,
    run_id text, attempts int not null default 1,
    first_at timestamptz not null default clock_timestamp(), last_at timestamptz not null default clock_timestamp(),
    unique (connection, entity, side, record_id, field));
comment on table sync.parked is 'Records that could not go on, with the reason; side says where the record was going to be read from.';

create table sync.watermark (
    connection text not null, entity text not null,
    position timestamptz not null, full_at timestamptz, deletions_at timestamptz, moved_at timestamptz not null default clock_timestamp(),
    primary key (connection, entity));
comment on column sync.watermark.position is 'On the vendor''s clock: everything modified before it has been read.';

create table sync.history (
    id bigint generated always as identity primary key,
    run_id text, entity text not null,
    crm_source text not null, sync_type text not null,
    status text not null check (status in ('running', 'success', 'partial', 'failed')),
    start_time timestamptz not null default clock_timestamp(), end_time timestamptz,
    records_processed bigint not null default 0, records_created bigint not null default 0,
    records_updated bigint not null default 0, records_failed bigint not null default 0,
    error_message text, performance_metrics jsonb not null default '{}', configuration jsonb not null default '{}');
create index history_stream on sync.history (crm_source, entity, start_time desc);
create index history_running on sync.history (crm_source, entity) where status = 'running';

create table sync.token (
    connection text primary key, sealed bytea not null, saved_at timestamptz not null default clock_timestamp());
comment on table sync.token is 'OAuth tokens, encrypted; the key is not in the database.';

create table sync.answer (
    connection text not null, key text not null, answer jsonb not null,
    heard_at timestamptz not null default clock_timestamp(),
    primary key (connection, key));
comment on table sync.answer is 'What a CRM said about its objects (describe, pipelines), remembered for a while.';

create table sync.inbox (
    id bigint generated always as identity primary key,
    connection text not null, event_id text not null, entity text not null, crm_id text not null, change text not null,
    occurred_at timestamptz, received_at timestamptz not null default clock_timestamp(), done_at timestamptz,
    unique (connection, event_id));
create index inbox_waiting on sync.inbox (connection, entity) where done_at is null;
comment on table sync.inbox is 'Webhook events: which records to look at. Their values are never trusted.';

create table review.conflict (
    id bigint generated always as identity primary key,
    connection text not null, entity text not null, hub_id uuid not null, crm_id text not null, field text not null,
    hub_value text, crm_value text, crm_value_as_hub text, hub_then text, crm_then text,
    hub_changed_at timestamptz, hub_changed_by text, crm_changed_at timestamptz,
    suggestion text not null, reason text not null,
    status text not null default 'open' check (status in ('open', 'decided', 'applied', 'skipped', 'superseded')),
    decision text check (decision in ('use_hub', 'use_crm')), decided_by text, decided_at timestamptz,
    run_id text, opened_at timestamptz not null default clock_timestamp());
create unique index conflict_live on review.conflict (connection, entity, hub_id, field)
    where status in ('open', 'decided', 'skipped');
create index conflict_open on review.conflict (entity, id) where status = 'open';
comment on table review.conflict is 'Disputes that no policy may decide, waiting for a person.';
"""


def upgrade() -> None:
    op.execute("create schema if not exists hub")
    op.execute("create schema if not exists review")
    op.execute(FUNCTIONS)
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("drop schema review cascade")
    op.execute("drop schema sync cascade")
