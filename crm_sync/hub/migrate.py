"""Bring our own tables (schemas sync and review) to the newest version with Alembic.

The hub, mirror and base tables are not here: they follow from the connection files (`hub/tables.py`).
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

_LOCK = 0x63726D73  # "crms": one process migrates, the others wait


def sqlalchemy_url(url: str) -> str:
    """The same database for SQLAlchemy, with psycopg 3 named (a bare `postgresql://` means whatever it likes)."""
    return "postgresql+psycopg://" + url.split("://", 1)[1]


def upgrade(url: str) -> None:
    """Migrate the database at `url`; safe to call from many processes at once and when nothing is to do."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = sa.create_engine(sqlalchemy_url(url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("select pg_advisory_lock(:key)"), {"key": _LOCK})
        connection.execute(sa.text("create schema if not exists sync"))
        connection.commit()
        try:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(sa.text("select pg_advisory_unlock(:key)"), {"key": _LOCK})
            connection.commit()
    engine.dispose()
