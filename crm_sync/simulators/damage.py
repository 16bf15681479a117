"""Answers spoilt on their way: pages with wrong rows, bodies that are not what they say.

Here: bytes in, bytes out. Not here: which answers are spoilt (fault_plan.py) and sockets (faults.py).
"""

import csv
import io
import re
from collections.abc import MutableMapping
from random import Random
from typing import Any, Literal

import orjson

Rows = Literal["repeat", "lose", "shuffle"]
LISTS = ("records", "results")
"""Where the rows of a JSON page are."""


CURSORS = re.compile(r"(?:^|&)(?:after|locator|maxRecords)=[^&]*")
MOST = 20


class Pages:
    """The last page of each list that is being read, so that its rows can come again with the next one.

    Pages are of one list if their requests are the same but for the cursor; a Salesforce list goes on at the address
    that its first page names.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[Any]] = {}

    def of(self, path: str, query: str, body: bytes) -> str:
        """Which list a request reads."""
        text = body
        if body.startswith(b"{"):
            document = orjson.loads(body)
            document.pop("after", None)
            text = orjson.dumps(document)
        return f"{re.sub(r'-[0-9]+$', '', path)}?{CURSORS.sub('', query)} {text.decode('utf-8', 'replace')}"

    def before(self, place: str) -> list[Any]:
        """The rows of the page before; empty if this one is the first."""
        return self._rows.get(place, [])

    def remember(self, place: str, body: bytes, kind: str) -> None:
        """A page as it truly was."""
        rows, following = _rows(body, kind)
        for name in (place, following):
            if name:
                self._rows.pop(name, None)
                self._rows[name] = rows
        while len(self._rows) > MOST:
            del self._rows[next(iter(self._rows))]


def _rows(body: bytes, kind: str) -> tuple[list[Any], str | None]:
    """The rows of a page, and the list that goes on elsewhere."""
    if kind.startswith("text/csv"):
        return list(csv.reader(io.StringIO(body.decode("utf-8"), newline="")))[1:], None
    document: Any = orjson.loads(body) if kind.startswith("application/json") else None
    name = _list_in(document)
    if name is None:
        return [], None
    elsewhere = document.get("nextRecordsUrl")
    return document[name], elsewhere and f"{re.sub(r'-[0-9]+$', '', elsewhere)}? "


def _list_in(document: Any) -> str | None:
    if not isinstance(document, MutableMapping):
        return None
    return next((name for name in LISTS if isinstance(document.get(name), list)), None)


def bad_gzip(body: bytes) -> bytes:
    """Something of about that length which begins as gzip does."""
    return b"\x1f\x8b\x08\x00" + b"\xff" * max(len(body) - 4, 4)


def recoded(body: bytes, charset: str) -> bytes:
    """Text that is UTF-8 in another charset; what that charset lacks becomes a question mark."""
    return body.decode("utf-8", "replace").encode(charset, "replace")


def wrong_rows(body: bytes, kind: str, how: Rows, before: list[Any], dice: Random) -> bytes:
    """A page of rows, JSON or CSV by its content type, with other rows; any other body as it is.

    ``before``: the rows of the page before; empty for the first page, whose own rows then come twice.
    """
    if kind.startswith("text/csv"):
        return _csv(body, how, before, dice)
    if not kind.startswith("application/json"):
        return body
    document = orjson.loads(body)
    name = _list_in(document)
    if name is None:
        return body
    document[name] = _changed(document[name], how, before, dice)
    return orjson.dumps(document)


def _csv(body: bytes, how: Rows, before: list[Any], dice: Random) -> bytes:
    text = body.decode("utf-8")
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    out = io.StringIO(newline="")
    ending = "\r\n" if text.endswith("\r\n") else "\n"
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator=ending)
    writer.writerows([header, *_changed(rows, how, before, dice)])
    return out.getvalue().encode()


def _changed(rows: list[Any], how: Rows, before: list[Any], dice: Random) -> list[Any]:
    if how == "shuffle":
        return dice.sample(rows, len(rows))
    if how == "lose":
        return rows[: len(rows) - (len(rows) + 2) // 3]
    return [*(before or rows), *rows]
