"""What a complete listing has shown, and how far the round of references has come."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        "create table sync.listing (id bigint generated always as identity primary key,"
        " connection text not null, entity text not null, kind text not null,"
        " begun_at timestamptz not null default clock_timestamp(), unique (connection, entity, kind))"
    )
    op.execute(
        "comment on table sync.listing is 'Readings of everything that are under way. begun_at: on the clock of this"
        " database; what came into the mirror later is not missed in them. kind: inbound (with values) or sweep (ids only).'"
    )
    op.execute(
        "create table sync.seen (listing bigint not null references sync.listing on delete cascade,"
        " crm_ids text not null)"
    )
    op.execute(
        "alter table sync.seen alter crm_ids set storage external"
    )  # to compress them costs more than to write
    op.execute("create index seen_listing on sync.seen (listing)")
    op.execute(
        "comment on table sync.seen is 'The live records that a listing has shown so far, a row a page, one id a line: only when it has"
        " come to its end does anything follow from those that are missing.'"
    )
    op.execute(
        "create table sync.round (connection text not null, entity text not null, linked bigint not null,"
        " looked bigint not null default 0, after text not null default '', begun_at timestamptz not null,"
        " primary key (connection, entity))"
    )
    op.execute(
        "comment on table sync.round is 'How far the linked records have been looked at for references that change"
        " without a trace in the record (HubSpot''s associations): looked of linked, up to the CRM id in after.'"
    )


def downgrade() -> None:
    op.execute("drop table sync.round")
    op.execute("drop table sync.seen")
    op.execute("drop table sync.listing")
