"""What CRMs said about themselves, kept in Postgres for a quarter of an hour."""

from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from crm_sync.hub.connect import connect

LIFETIME = timedelta(minutes=15)


class PostgresAnswerMemory:
    """Implements `connectors.answers.AnswerMemory`. Each call is a transaction of its own: a dry run's roll-back
    does not concern what was heard."""

    def __init__(self, url: str, lifetime: timedelta = LIFETIME) -> None:
        self._url = url
        self._lifetime = lifetime

    def load(self, connection: str, key: str) -> Any | None:
        with connect(self._url) as conn:
            row = conn.execute(
                "select answer from sync.answer where connection = %s and key = %s and heard_at > now() - %s",
                [connection, key, self._lifetime],
            ).fetchone()
        return row[0] if row else None

    def save(self, connection: str, key: str, answer: Any) -> None:
        with connect(self._url) as conn:
            conn.execute(
                "insert into sync.answer (connection, key, answer) values (%s, %s, %s) on conflict (connection, key)"
                " do update set answer = excluded.answer, heard_at = clock_timestamp()",
                [connection, key, Jsonb(answer)],
            )

    def forget(self, connection: str, key: str) -> None:
        with connect(self._url) as conn:
            conn.execute("delete from sync.answer where connection = %s and key = %s", [connection, key])

    def forget_all(self, connection: str) -> None:
        """Everything that the connection's CRM said, because the account was changed."""
        with connect(self._url) as conn:
            conn.execute("delete from sync.answer where connection = %s", [connection])
