"""What a person should know about a match conflict; what is taken back beside values."""

from alembic import op

revision = "0010"
down_revision = "0009"

UP = """
alter table review.match add note text not null default '';
comment on column review.match.note is 'Why a person has to decide: what was decided could not be followed, or too many records share a key.';
alter table sync.change drop constraint change_kind_check;
alter table sync.change add constraint change_kind_check check (kind in
    ('create', 'update', 'delete', 'archive', 'restore', 'merge', 'link', 'unlink', 'review'));
create table sync.unlinked (
    connection text not null, entity text not null, crm_id text collate "C" not null, hub_id uuid not null,
    unlinked_by text not null, run_id text, at timestamptz not null default clock_timestamp(),
    primary key (connection, entity, crm_id, hub_id));
comment on table sync.unlinked is 'Pairs of records that a person pulled apart: nothing but a person links them again.';
create table sync.kept_out (
    connection text not null, entity text not null, crm_id text collate "C" not null, modified_at timestamptz,
    kept_out_by text not null, run_id text, at timestamptz not null default clock_timestamp(),
    primary key (connection, entity, crm_id));
comment on table sync.kept_out is 'CRM records whose hub record an undo deleted: they make no new one as long as they say what they said then.';
"""
DOWN = """
drop table sync.kept_out;
drop table sync.unlinked;
alter table sync.change disable trigger append_only;
update sync.change set kind = 'link' where kind in ('unlink', 'review', 'merge');
alter table sync.change enable trigger append_only;
alter table sync.change drop constraint change_kind_check;
alter table sync.change add constraint change_kind_check check (kind in
    ('create', 'update', 'delete', 'archive', 'restore', 'link'));
alter table review.match drop note;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
