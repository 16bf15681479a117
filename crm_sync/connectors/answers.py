"""Answers that change slowly - describes, pipelines - remembered between processes.

A run every five minutes would otherwise spend more calls on asking what a CRM looks like than on asking what
changed. What is remembered is the vendor's answer as it came; how long it counts is the memory's business
(`hub/answers.py`). Data of records never comes here.
"""

from collections.abc import Callable
from typing import Any, Protocol


class AnswerMemory(Protocol):
    """Remembers answers by connection and key."""

    def load(self, connection: str, key: str) -> Any | None:
        """The answer, if it is young enough to count."""

    def save(self, connection: str, key: str, answer: Any) -> None: ...

    def forget(self, connection: str, key: str) -> None: ...


class NoMemory:
    """Remembers nothing: every process asks for itself."""

    def load(self, connection: str, key: str) -> None: ...

    def save(self, connection: str, key: str, answer: Any) -> None: ...

    def forget(self, connection: str, key: str) -> None: ...


def remembered(memory: AnswerMemory, connection: str, key: str, ask: Callable[[], Any]) -> Any:
    """The remembered answer, or what `ask` brings, which is then remembered."""
    answer = memory.load(connection, key)
    if answer is None:
        answer = ask()
        memory.save(connection, key, answer)
    return answer
