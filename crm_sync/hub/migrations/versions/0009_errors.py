"""Who has to do something about a parked record, and when it is tried again."""

from alembic import op

revision = "0009"
down_revision = "0008"

UP = """
create table sync.error_code (
    source text not null, code text not null, error_class text not null,
    cause text not null, fix text not null, owner text not null, retryable text not null,
    primary key (source, code));
comment on table sync.error_code is 'The catalogue of refusals, written anew by every version. Source: the kind of CRM, crm_sync for our own codes, or class for the rest.';

alter table sync.parked add next_try timestamptz;
create index parked_due on sync.parked (connection, entity, next_try) where next_try is not null;
comment on column sync.parked.next_try is 'When the record is tried again by itself; null: not before it changes, is requeued or reconciled.';

create view review.parked as
    select p.id, p.connection, p.entity, p.side, p.record_id, p.hub_id, p.crm_id, p.field, p.error_class, p.code,
        p.value_class, p.reason, e.cause, e.fix, e.owner, e.retryable,
        case when p.next_try is null then 'parked' when p.next_try <= clock_timestamp() then 'queued' else 'waits' end as state,
        p.attempts, p.next_try, p.first_at, p.last_at, p.run_id
    from sync.parked p
    left join sync.stream s on s.connection = p.connection and s.entity = p.entity
    left join lateral (
        select c.cause, c.fix, c.owner, c.retryable from sync.error_code c
        where c.source = s.kind and c.code = p.code or c.source = 'crm_sync' and c.code = p.code
            or c.source = 'class' and c.code = p.error_class
        order by c.source = 'class', c.source = 'crm_sync' limit 1) e on true;
comment on view review.parked is 'What does not go on and why, with what to do and who does it. State: parked, queued for the next sync, or waits to be tried again by itself.';
"""
DOWN = """
drop view review.parked;
drop index sync.parked_due;
alter table sync.parked drop next_try;
drop table sync.error_code;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
