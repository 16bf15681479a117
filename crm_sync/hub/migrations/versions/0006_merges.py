"""What became of CRM records that were merged, and of leads that were converted."""

from alembic import op

revision = "0006"
down_revision = "0005"

UP = """
create table sync.alias (
    connection text not null, entity text not null, crm_id text collate "C" not null, survivor text collate "C" not null,
    reason text not null check (reason in ('merged', 'double')), hub_id uuid,
    since timestamptz not null default clock_timestamp(), settled_at timestamptz,
    primary key (connection, entity, crm_id));
create index alias_survivor on sync.alias (connection, entity, survivor);
create index alias_open on sync.alias (connection, entity) where settled_at is null;
comment on table sync.alias is 'CRM ids that mean another record. merged: the CRM merged it into the survivor. double: its hub record was merged, the CRM still has both.';
comment on column sync.alias.hub_id is 'The hub record it was linked with when it was merged.';

create table review.merge (
    id bigint generated always as identity primary key,
    connection text not null, entity text not null, crm_id text not null, survivor text not null,
    hub_id uuid not null, kept_id uuid not null,
    status text not null default 'open' check (status in ('open', 'decided', 'applied', 'superseded')),
    decision text check (decision in ('merge', 'apart')), decided_by text, decided_at timestamptz,
    run_id text, opened_at timestamptz not null default clock_timestamp());
create unique index merge_live on review.merge (connection, entity, hub_id) where status in ('open', 'decided');
comment on table review.merge is 'Two hub records of which the CRM made one: hub_id lost its record crm_id to the survivor, which is linked with kept_id. A person decides what becomes of the two.';

create table sync.conversion (
    connection text not null, entity text not null, crm_id text collate "C" not null,
    contact text collate "C", company text collate "C", deal text collate "C",
    hub_id uuid, contact_id uuid, company_id uuid, deal_id uuid,
    since timestamptz not null default clock_timestamp(), carried_at timestamptz,
    primary key (connection, entity, crm_id));
create index conversion_contact on sync.conversion (connection, contact) where contact is not null;
create index conversion_company on sync.conversion (connection, company) where company is not null;
create index conversion_deal on sync.conversion (connection, deal) where deal is not null;
create index conversion_lead on sync.conversion (hub_id);
create index conversion_made on sync.conversion (contact_id);
comment on table sync.conversion is 'Leads that a CRM converted: the ids of what they became there, and the hub records of each as far as they are linked.';
comment on column sync.conversion.carried_at is 'When the lead''s links and references were carried over to the contact.';
"""

DOWN = """
drop table sync.conversion;
drop table review.merge;
drop table sync.alias;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
