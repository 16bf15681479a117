"""The life cycle of records: deletions that are sent, records that come back, references that were let go."""

from alembic import op

revision = "0005"
down_revision = "0004"

UP = """
alter table sync.change drop constraint change_kind_check;
alter table sync.change add constraint change_kind_check
    check (kind in ('create', 'update', 'delete', 'archive', 'restore', 'link'));
alter table sync.intent drop constraint intent_kind_check;
alter table sync.intent add constraint intent_kind_check check (kind in ('create', 'update', 'delete'));

alter table sync.tombstone add row jsonb;
comment on table sync.tombstone is 'Hub records that were deleted: when, by whom (hub: an application; else the connection), and the row as it was.';

create table sync.let_go (
    entity text collate "C" not null, hub_id uuid not null, field text collate "C" not null, target uuid not null,
    at timestamptz not null default now(),
    primary key (hub_id, field, entity));
create index let_go_target on sync.let_go (target);
comment on table sync.let_go is 'References that the hub lost because their target was deleted: they come back with it, and are sent nowhere as blanks.';
"""

DOWN = """
drop table sync.let_go;
alter table sync.tombstone drop row;
delete from sync.intent where kind = 'delete';
alter table sync.intent drop constraint intent_kind_check;
alter table sync.intent add constraint intent_kind_check check (kind in ('create', 'update'));
alter table sync.change disable trigger append_only;
update sync.change set kind = 'update' where kind in ('archive', 'restore');
alter table sync.change enable trigger append_only;
alter table sync.change drop constraint change_kind_check;
alter table sync.change add constraint change_kind_check check (kind in ('create', 'update', 'delete', 'link'));
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
