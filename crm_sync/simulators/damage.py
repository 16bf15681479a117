"""Answers spoilt on their way: pages with wrong rows, bodies that are not what they say.

Here: bytes in, bytes out. Not here: which answers are spoilt (fault_plan.py) and sockets (faults.py).
"""

import csv
import io
from collections.abc import MutableMapping
from random import Random
from typing import Any, Literal

import orjson

Rows = Literal["repeat", "lose", "shuffle"]
LISTS = ("records", "results")
"""Where the rows of a JSON page are."""


def bad_gzip(body: bytes) -> bytes:
    """Something of about that length which begins as gzip does."""
    return b"\x1f\x8b\x08\x00" + b"\xff" * max(len(body) - 4, 4)


def recoded(body: bytes, charset: str) -> bytes:
    """Text that is UTF-8 in another charset; what that charset lacks becomes a question mark."""
    return body.decode("utf-8", "replace").encode(charset, "replace")


def wrong_rows(body: bytes, kind: str, how: Rows, memory: list[Any], dice: Random) -> bytes:
    """A page of rows, JSON or CSV by its content type, with other rows; any other body as it is.

    ``memory`` keeps the rows of the page before.
    """
    if kind.startswith("text/csv"):
        return _csv(body, how, memory, dice)
    if not kind.startswith("application/json"):
        return body
    document = orjson.loads(body)
    name = next((n for n in LISTS if isinstance(document, MutableMapping) and n in document), None)
    if name is None or not isinstance(document[name], list):
        return body
    document[name] = _changed(document[name], how, memory, dice)
    return orjson.dumps(document)


def _csv(body: bytes, how: Rows, memory: list[Any], dice: Random) -> bytes:
    text = body.decode("utf-8")
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    out = io.StringIO(newline="")
    ending = "\r\n" if text.endswith("\r\n") else "\n"
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator=ending)
    writer.writerows([header, *_changed(rows, how, memory, dice)])
    return out.getvalue().encode()


def _changed(rows: list[Any], how: Rows, memory: list[Any], dice: Random) -> list[Any]:
    if how == "shuffle":
        return dice.sample(rows, len(rows))
    if how == "lose":
        return rows[: len(rows) - (len(rows) + 2) // 3]
    again = [*(memory or rows), *rows]
    memory[:] = rows
    return again
