"""What CRMs say about themselves is remembered for a while, and asked for again afterwards."""

from datetime import timedelta

from crm_sync.connectors.answers import remembered
from crm_sync.hub.answers import PostgresAnswerMemory
from crm_sync.hub.migrate import upgrade


def test_an_answer_is_asked_for_once_and_again_when_it_is_old_or_forgotten(fresh_database_url: str) -> None:
    upgrade(fresh_database_url)
    memory = PostgresAnswerMemory(fresh_database_url)
    asked: list[int] = []

    def ask() -> dict[str, list[int]]:
        asked.append(1)
        return {"fields": asked}

    for _ in range(2):
        assert remembered(memory, "acme", "describe Contact", ask) == {"fields": [1]}
    assert remembered(memory, "other", "describe Contact", ask) == {"fields": [1, 1]}
    memory.forget("acme", "describe Contact")
    remembered(memory, "acme", "describe Contact", ask)
    assert len(asked) == 3
    old = PostgresAnswerMemory(fresh_database_url, lifetime=timedelta(0))
    remembered(old, "acme", "describe Contact", ask)
    assert len(asked) == 4
