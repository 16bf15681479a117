"""Plans: the field writes that a person looks at before they are made, and what became of each."""

from alembic import op

revision = "0008"
down_revision = "0007"

UP = """
create table sync.plan (
    id bigint generated always as identity primary key,
    hash text not null, status text not null default 'proposed'
        check (status in ('proposed', 'approved', 'applied', 'rejected', 'expired')),
    origin text not null check (origin in ('person', 'run')),
    made_at timestamptz not null default clock_timestamp(), made_by text not null, seen_at timestamptz not null default clock_timestamp(),
    streams jsonb not null, figures jsonb not null, calls jsonb not null, guard jsonb not null default '{}',
    rows bigint not null, records bigint not null, run_id text,
    decided_by text, decided_at timestamptz, journal_from bigint, ended_at timestamptz);
create index plan_open on sync.plan (status) where status in ('proposed', 'approved');
comment on table sync.plan is 'Plans of field writes in both directions. streams: what each stream''s mapping said; hash: SHA-256 over streams and rows.';
comment on column sync.plan.origin is 'run: made by a sync whose writes wait for approval; the next one replaces it if there is something else to write.';
comment on column sync.plan.calls is 'Calls that applying it costs, by connection and family.';
comment on column sync.plan.guard is 'What the guard says about it, by stream and side: whoever approves the plan confirms that.';
comment on column sync.plan.journal_from is 'The journal''s last row when it was first applied: what it wrote comes behind.';

create table sync.plan_row (
    plan bigint not null references sync.plan on delete cascade, n bigint not null,
    stream text not null, target text not null check (target in ('hub', 'crm')), action text not null, record text not null, key text not null,
    field text not null, old text, new text, reason text not null, hub_id uuid, crm_id text, hub_then text, crm_then text,
    verdict text not null, policy text not null,
    outcome text check (outcome in ('written', 'refused')), moved text,
    primary key (plan, n));
create index plan_row_key on sync.plan_row (plan, stream, key);
create index plan_row_record on sync.plan_row (plan, stream, record) where record <> key;
create index plan_row_waiting on sync.plan_row (plan) where outcome is null;
comment on table sync.plan_row is 'The field writes of a plan in canonical order. Personal data: removed 30 days after the plan has ended.';
comment on column sync.plan_row.record is 'The hub id; of a record that is new in the hub or gets its link there, the CRM''s id.';
comment on column sync.plan_row.key is 'The hub id if there is one, else the record: what belongs to one record.';
comment on column sync.plan_row.moved is 'Of refused rows: what is not as it was planned.';
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute("drop table sync.plan_row; drop table sync.plan")
