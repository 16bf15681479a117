"""Open query results and their locators (the ``01g...-2000`` in nextRecordsUrl)."""

from collections.abc import Callable
from dataclasses import dataclass, field

from crm_sync.simulators.salesforce import ids
from crm_sync.simulators.salesforce.errors import ApiError
from crm_sync.simulators.salesforce.settings import Settings
from crm_sync.simulators.salesforce.soql_run import Result


@dataclass(slots=True)
class Cursor:
    id: str
    user_id: str
    result: Result
    page: int
    opened: float


@dataclass(slots=True)
class Cursors:
    """The oldest of a user's cursors is dropped when there are too many."""

    settings: Settings
    now: Callable[[], float]
    open_ones: dict[str, Cursor] = field(default_factory=dict)
    counter: int = 0

    def open(self, user_id: str, result: Result, page: int) -> Cursor:
        self.counter += 1
        cursor = Cursor(ids.make("01g", self.counter), user_id, result, page, self.now())
        mine = [c for c in self.open_ones.values() if c.user_id == user_id]
        for old in mine[: max(0, len(mine) + 1 - self.settings.max_cursors)]:
            del self.open_ones[old.id]
        self.open_ones[cursor.id] = cursor
        return cursor

    def find(self, locator: str, user_id: str) -> tuple[Cursor, int]:
        """The cursor and offset of a locator. Raises INVALID_QUERY_LOCATOR."""
        name, _, offset = locator.rpartition("-")
        cursor = self.open_ones.get(ids.normalise(name) or "")
        if cursor is None or cursor.user_id != user_id or not offset.isdigit():
            raise _invalid()
        if self.now() - cursor.opened > self.settings.locator_seconds:
            del self.open_ones[cursor.id]
            raise _invalid()
        return cursor, int(offset)

    def expire(self) -> int:
        """Drop all; return how many there were."""
        dropped = len(self.open_ones)
        self.open_ones.clear()
        return dropped


def _invalid() -> ApiError:
    return ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
