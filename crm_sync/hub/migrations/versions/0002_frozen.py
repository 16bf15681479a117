"""Fields that a CRM did not let us read for a while."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        "create table sync.frozen (connection text not null, entity text not null, field text not null,"
        " since timestamptz, frozen_at timestamptz not null default clock_timestamp(),"
        " primary key (connection, entity, field))"
    )
    op.execute(
        "comment on table sync.frozen is 'Fields that could not be read: nothing is taken or sent for them. since: what"
        " was modified from then on (the vendor''s clock; null: everything) has to be read again when they are back.'"
    )


def downgrade() -> None:
    op.execute("drop table sync.frozen")
