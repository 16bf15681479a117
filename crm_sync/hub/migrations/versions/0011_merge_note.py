"""Why a merge that a person decided on could not be done."""

from alembic import op

revision = "0011"
down_revision = "0010"

UP = """
alter table review.merge add note text not null default '';
comment on column review.merge.note is 'Why the two could not become one though it was decided: it is open again.';
"""

DOWN = """
alter table review.merge drop note;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
