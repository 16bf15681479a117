"""Whether a survivor of a merge was looked up by its id since the merge is known."""

from alembic import op

revision = "0012"
down_revision = "0011"

UP = """
alter table sync.alias add seen_at timestamptz;
comment on column sync.alias.seen_at is 'When the survivor was looked up by its id; a link moves to it only then, for a listing may still show it as it was before the merge.';
"""

DOWN = """
alter table sync.alias drop seen_at;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
