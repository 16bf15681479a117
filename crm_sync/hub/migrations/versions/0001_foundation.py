"""The tables in which the sync remembers itself, and the functions the derived tables use."""

from alembic import op

revision = "0001"
down_revision = None

FUNCTIONS = r"""
-- All give null for null, but are not declared strict: Postgres inlines only functions that are not, and inlined they are five times faster.

-- One spelling for each number, whatever the CRM prints: 1.50, 1.5E0 and 1.5 are the same. Text that is no
-- number is left as it is; the validation at the hub says what is wrong with it.
create function sync.canon_number(v text) returns text immutable parallel safe language sql as $$
    select case when v ~ '^-?[0-9]{1,18}$' then trim_scale(v::numeric)::text
                when v ~ '^[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,2})?$'
                    then trim_scale(v::numeric)::text
                else v end $$;

-- '2026-01-02T03:04:05Z', '…+0000', '…+00:00', with or without milliseconds: all '2026-01-02T03:04:05.000Z'.
create function sync.canon_datetime(v text) returns text immutable parallel safe language sql as $$
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
create function sync.match_text(field_type text, v text) returns text immutable parallel safe language sql as $$
    select nullif(case field_type
        when 'url' then regexp_replace(regexp_replace(lower(btrim(v)), '^[a-z]+://(www\.)?|^www\.', ''), '[/?#:].*$', '')
        else lower(btrim(normalize(v, NFKC))) end, '') $$;
create function sync.match_key(field_type text, v text) returns text immutable parallel safe language sql as $$
    select case when octet_length(v) = length(v) and length(v) <= 200 then sync.match_text(field_type, v)  -- ASCII never grows
                when length(sync.match_text(field_type, v)) <= 200 then sync.match_text(field_type, v)
                else md5(sync.match_text(field_type, v)) end $$;
"""

TABLES = """
create table sync.stream (
    connection text not null, entity text not null,
    kind text not null, object text not null, direction text not null,
    id int generated always as identity unique,
    primary key (connection, entity));
comment on table sync.stream is 'The streams of the connection files, as last loaded; the change trigger marks records dirty for each.';

-- Marks are only ever appended and removed by version: marking never waits for anybody and never meets a conflict,
-- and a mark that was not read is never removed. Rows come and go, so the table is vacuumed early and at full speed.
create sequence sync.dirty_version;
create table sync.mark (
    stream int not null, by_hub boolean not null,
    version bigint not null default nextval('sync.dirty_version'),
    marked_at timestamptz not null default clock_timestamp(),
    hub_id uuid, crm_id text,
    primary key (stream, by_hub, version),
    check (case when by_hub then hub_id is not null and crm_id is null else crm_id is not null and hub_id is null end)
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_scale_factor = 1.0);
comment on table sync.mark is 'The queue: somebody marked a record of a stream to be looked at. The same record may be marked often.';

-- The plan must not depend on statistics, which are never right about a queue: the index, in its order, always.
create function sync.marks(of_stream int, later_than bigint, up_to bigint, at_most int)
returns setof sync.mark language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$ begin
    return query select * from (
        (select * from sync.mark where stream = of_stream and by_hub and version > later_than and version <= up_to order by version limit at_most)
        union all
        (select * from sync.mark where stream = of_stream and not by_hub and version > later_than and version <= up_to order by version limit at_most)
    ) m order by version limit at_most; end $$;
create function sync.settle(of_stream int, hub bigint[], crm bigint[]) returns void language plpgsql
set enable_seqscan = off as $$ begin  -- the bounds, because only Postgres 17 and later look up an array by the index whatever they expect
    delete from sync.mark where stream = of_stream and by_hub and version = any(hub) and version between (select min(v) from unnest(hub) v) and (select max(v) from unnest(hub) v);
    delete from sync.mark where stream = of_stream and not by_hub and version = any(crm) and version between (select min(v) from unnest(crm) v) and (select max(v) from unnest(crm) v); end $$;

create view sync.dirty as
    select s.connection, s.entity, case when m.by_hub then 'hub' else 'crm' end as side,
        coalesce(m.hub_id::text, m.crm_id) as record_id, max(m.version) as version, min(m.marked_at) as marked_at
    from sync.mark m join sync.stream s on s.id = m.stream group by 1, 2, 3, 4;
comment on view sync.dirty is 'The records to look at, for people; marked_at is the oldest mark, version the newest.';

create table sync.provenance (
    entity text collate "C" not null, hub_id uuid not null, field text collate "C" not null,
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
    connection text not null, entity text not null, hub_id uuid not null, crm_id text,
    kind text not null check (kind in ('create', 'update')),
    sent jsonb not null, hub_values jsonb not null, reasons jsonb not null, old_values jsonb not null,
    run_id text, created_at timestamptz not null default clock_timestamp(),
    primary key (connection, entity, hub_id));
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

create table sync.budget (
    connection text not null, name text not null,
    allowed int, left_over int, others real not null default 0, heard_at timestamptz,
    free_at timestamptz not null default '-infinity', pause_until timestamptz not null default '-infinity',
    tick bigint not null default 0, counts int[] not null default array_fill(0, array[128]),
    day date, used int not null default 0,
    primary key (connection, name)) with (fillfactor = 50);
comment on column sync.budget.counts is 'Turns in the last 128 quarters of a second, a ring; tick is the newest.';
comment on table sync.budget is 'Calls to a CRM: what is allowed, what is left, when the next may begin. Shared by all processes (hub/budget.py).';

create table sync.health (
    connection text primary key,
    state text not null default 'healthy' check (state in ('healthy', 'degraded', 'failed')),
    since timestamptz not null default clock_timestamp(), error_class text, reason text,
    failures int not null default 0, openings int not null default 0, probe_at timestamptz);
comment on table sync.health is 'How each connection is. While probe_at is set the circuit breaker is open, and one call is tried at that time.';

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


LIMITS = r"""
-- Book the turns of k calls, which are even gaps apart from the first free one. granted: k, or 0 if the first would be
-- later than `ahead` seconds; turn: seconds until the first; gap: seconds between turns. most: what is allowed in so
-- many seconds until the vendor says more, cap: what the connection file allows; both null: no turns, only pauses.
create function sync.book_calls(c text, b text, most int, cap int, seconds float8, even float8, k int, ahead float8,
    out granted int, out turn float8, out gap float8) language plpgsql as $$
declare r sync.budget; t timestamptz; first timestamptz; allowed float8; s bigint;
begin
    select * into r from sync.budget where connection = c and name = b for no key update;
    if not found then
        insert into sync.budget (connection, name) values (c, b) on conflict do nothing;
        select * into r from sync.budget where connection = c and name = b for no key update;
    end if;
    t := clock_timestamp();  -- after the row was waited for
    allowed := coalesce(least(r.allowed, cap), most);
    -- What others use is made room for, but a tenth always remains ours.
    gap := case when allowed is null then 0
                else seconds / greatest(least(even * allowed, even * coalesce(r.allowed, allowed) - r.others), allowed / 10, 0.1) end;
    first := greatest(t, r.free_at, r.pause_until);
    turn := extract(epoch from first - t);
    granted := case when turn > ahead then 0 else k end;
    if granted > 0 then
        s := floor(4 * extract(epoch from first - timestamptz '2026-01-01Z'));
        for i in greatest(r.tick + 1, s - 127) .. s loop r.counts[1 + i % 128] := 0; end loop;
        r.counts[1 + s % 128] := r.counts[1 + s % 128] + k;
        update sync.budget set free_at = first + k * gap * interval '1 second', tick = greatest(r.tick, s),
            counts = r.counts where connection = c and name = b;
    end if;
end $$;

-- Take k calls off the day, several only while the end is far. held: null if they may be made; 'day' if only `keep` of what the vendor allows is left, 'own'
-- if `own` calls have been made in this UTC day. What was heard more than 15 minutes ago is tried out by one call.
create function sync.take_day(c text, keep float8, own int, k int, out held text, out allowed int, out left_over int) language plpgsql as $$
declare r sync.budget; today date := (clock_timestamp() at time zone 'UTC')::date;
begin
    select * into r from sync.budget where connection = c and name = 'daily' for no key update;
    if not found then
        insert into sync.budget (connection, name) values (c, 'daily') on conflict do nothing;
        select * into r from sync.budget where connection = c and name = 'daily' for no key update;
    end if;
    allowed := r.allowed; left_over := r.left_over; r.used := case when r.day = today then r.used else 0 end;
    held := case when r.used + k > own then 'own'
                 when r.left_over - case when k > 1 then 8 * k else 1 end < keep * r.allowed and r.heard_at > clock_timestamp() - interval '15 minutes' then 'day' end;
    if held is null then
        update sync.budget set used = r.used + k, day = today, left_over = case when r.left_over < k then 0 else r.left_over - k end,
            heard_at = case when r.left_over - k < keep * r.allowed then clock_timestamp() else heard_at end
            where connection = c and name = 'daily';
    end if;
end $$;

-- Note what an answer told of a window whose request left `age` seconds ago. What was used then and is not ours, others
-- used. Where less is left than ought to be, so many turns are left out, once a second.
create function sync.hear_calls(c text, b text, told int, rest int, seconds float8, age float8) returns void language plpgsql as $$
declare r sync.budget; t float8; ours float8 := 0; theirs float8; short boolean;
begin
    select * into r from sync.budget where connection = c and name = b for no key update;
    if not found then return; end if;
    t := 4 * (extract(epoch from clock_timestamp() - timestamptz '2026-01-01Z') - age);
    for i in greatest(floor(t - 4 * seconds)::bigint, r.tick - 127) .. least(floor(t)::bigint, r.tick) loop
        ours := ours + r.counts[1 + i % 128] * (least(i + 1, t) - greatest(i, t - 4 * seconds));
    end loop;
    theirs := told - rest - ours;
    if theirs < told * 0.05 then theirs := greatest(theirs - told * 0.02, 0); end if;  -- rather a call under way than theirs
    short := rest < told * 0.015 and r.pause_until < clock_timestamp() - interval '1 second';
    update sync.budget set allowed = told, left_over = rest, heard_at = clock_timestamp(),
        others = case when theirs > others then (theirs + others) / 2 else others * 0.9 + theirs * 0.1 end,
        free_at = case when short then greatest(free_at, clock_timestamp())
                       + greatest(told * 0.015 - rest, 0) * seconds / told * interval '1 second' else free_at end,
        pause_until = case when short then clock_timestamp() else pause_until end
        where connection = c and name = b;
end $$;
"""


def upgrade() -> None:
    op.execute("create schema if not exists hub")
    op.execute("create schema if not exists review")
    op.execute(FUNCTIONS)
    op.execute(TABLES)
    op.execute(LIMITS)


def downgrade() -> None:
    op.execute("drop schema review cascade")
    op.execute("drop schema sync cascade")
