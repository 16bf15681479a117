"""What the sync remembers so that every write can be stopped, explained and taken back: (up, down) for each purpose."""

from alembic import op

revision = "0004"
down_revision = "0003"

GUARD = (
    """
create table sync.hold (
    id bigint generated always as identity primary key,
    connection text not null, entity text not null,
    cause text not null check (cause in ('limits', 'empty', 'account', 'database')),
    side text not null check (side in ('hub', 'crm', 'both')),
    status text not null default 'open' check (status in ('open', 'confirmed', 'done', 'withdrawn')),
    sentence text not null, would jsonb not null, sample jsonb not null default '[]',
    run_id text, opened_at timestamptz not null default clock_timestamp(), seen_at timestamptz not null default clock_timestamp(),
    decided_by text, decided_at timestamptz, ended_at timestamptz);
create unique index hold_open on sync.hold (connection, entity, cause, side) where status = 'open';
create index hold_waiting on sync.hold (connection) where status in ('open', 'confirmed');
comment on table sync.hold is 'Runs that the guard stopped before their first write, and what they would have done. Entity * is the whole connection, connection * everything.';
comment on column sync.hold.side is 'Where it would have been written.';

create table sync.hold_record (
    hold bigint not null references sync.hold on delete cascade,
    kind text not null, field text not null, hub_id uuid, crm_id text);
create index hold_record_hub on sync.hold_record (hold, kind, field, hub_id) where hub_id is not null;
create index hold_record_crm on sync.hold_record (hold, kind, field, crm_id) where hub_id is null;
comment on table sync.hold_record is 'The very records that a hold is about: what one confirmation lets through.';

create table sync.identity (
    connection text primary key, account text not null, login text not null default '', since timestamptz not null default clock_timestamp());
comment on table sync.identity is 'Which account a connection reached when it was first synced, or last confirmed; connection * is the database itself.';
comment on column sync.identity.login is 'Digest of the login that leads there: while it is the same one, nobody has to ask.';
""",
    """
drop table sync.identity;
drop table sync.hold_record;
drop table sync.hold;
""",
)
RULES = (
    """
create table review.rule (
    id int generated always as identity primary key,
    connection text not null, entity text not null, field text not null,
    decision text not null check (decision in ('use_hub', 'use_crm', 'most_recent_wins', 'prefer_crm_unless_blank')),
    only_when text not null default 'any' check (only_when in ('any', 'hub_blank', 'crm_blank')),
    made_by text not null, made_at timestamptz not null default clock_timestamp(), from_conflict bigint,
    ended_by text, ended_at timestamptz);
create unique index rule_active on review.rule (connection, entity, field, only_when) where ended_at is null;
comment on table review.rule is 'Standing decisions: how disputes about a field of a connection end until the rule is ended.';
alter table review.conflict add evidence text, add values_at timestamptz;
update review.conflict set values_at = opened_at;
alter table review.conflict alter values_at set default clock_timestamp(), alter values_at set not null;
comment on column review.conflict.evidence is 'What the times tell: of our field or only of our record, of the CRM''s record.';
comment on column review.conflict.values_at is 'Since when the row has had these two values.';
""",
    """
alter table review.conflict drop evidence, drop values_at;
drop table review.rule;
""",
)
SCHEMA = (
    """
create table sync.schema (
    connection text not null, entity text not null, object text not null, digest text not null, held text[] not null default '{}',
    fields jsonb not null, changed_at timestamptz not null default clock_timestamp(), primary key (connection, entity));
comment on table sync.schema is 'What the CRM''s object of a stream looks like, as the sync expects it: vendor field to type, options and more.';
comment on column sync.schema.digest is 'Of what was seen last and of the mapping: while it stays the same, nothing is compared. Empty: compare anew.';
comment on column sync.schema.held is 'Our fields whose type has become another one: nothing is taken or sent for them.';
create table sync.schema_change (
    id bigint generated always as identity primary key,
    connection text not null, entity text not null, object text not null, field text not null, kind text not null,
    before text[] not null, after text[] not null, held boolean not null, freezes text[] not null, fatal boolean not null,
    records integer, first_seen timestamptz not null default clock_timestamp(),
    acknowledged_at timestamptz, acknowledged_by text, ended_at timestamptz);
create unique index schema_change_open on sync.schema_change (connection, entity, field, kind) where ended_at is null;
comment on table sync.schema_change is 'What has changed about the CRMs'' objects. held: the sync still expects it as before. ended_at: it is back, or accepted.';
comment on column sync.schema_change.records is 'Records that held one of the removed picklist values when it was noticed; 1000: as many or more.';
""",
    "drop table sync.schema_change; drop table sync.schema",
)
INTENTS = (
    """
create table sync.doubt (
    connection text not null, entity text not null, hub_id uuid not null, field text not null, sent text,
    looked_at timestamptz not null, run_id text, noted_at timestamptz not null default clock_timestamp());
create index doubt_record on sync.doubt (connection, entity, hub_id);
comment on table sync.doubt is 'Values of writes without an answer that were not there when we looked (looked_at, the CRM''s clock): one of them may land late.';
""",
    "drop table sync.doubt",
)
MATCHES = (
    """
create table review.match (
    id bigint generated always as identity primary key,
    connection text not null, entity text not null, crm_id text not null, candidates jsonb not null,
    status text not null default 'open' check (status in ('open', 'decided', 'applied', 'superseded')),
    decision text check (decision in ('link', 'new')), hub_id uuid, decided_by text, decided_at timestamptz,
    run_id text, opened_at timestamptz not null default clock_timestamp());
create unique index match_live on review.match (connection, entity, crm_id) where status in ('open', 'decided');
comment on table review.match is 'CRM records that are alike hub records, waiting for a person; candidates: hub_id, score, alike.';
""",
    "drop table review.match",
)
# Appended in the order of time, so that a summary of each range of pages finds a period, at next to no cost for writing.
UNDO = ("create index change_at on sync.change using brin (at)", "drop index sync.change_at")
TIMELINE = (
    "create index conflict_record on review.conflict (entity, hub_id)",
    "drop index review.conflict_record",
)

BLOCKS = (GUARD, RULES, SCHEMA, INTENTS, MATCHES, UNDO, TIMELINE)


def upgrade() -> None:
    for up, _ in BLOCKS:
        op.execute(up)


def downgrade() -> None:
    for _, down in reversed(BLOCKS):
        op.execute(down)
