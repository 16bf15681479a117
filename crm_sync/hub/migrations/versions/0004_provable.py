"""What the sync remembers so that every write can be stopped, explained and taken back: (up, down) for each purpose."""

from alembic import op

revision = "0004"
down_revision = "0003"

GUARD = ("", "")
RULES = ("", "")
SCHEMA = ("", "")
INTENTS = ("", "")
MATCHES = ("", "")
UNDO = ("", "")

BLOCKS = (GUARD, RULES, SCHEMA, INTENTS, MATCHES, UNDO)


def upgrade() -> None:
    for up, _ in BLOCKS:
        if up:
            op.execute(up)


def downgrade() -> None:
    for _, down in reversed(BLOCKS):
        if down:
            op.execute(down)
