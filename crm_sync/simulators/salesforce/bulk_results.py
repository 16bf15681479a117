"""The result of a Bulk query as CSV: rendered once in a thread, kept in a file, served in pages.

Here: values to CSV, the file. Not here: jobs and requests (bulk_query.py). Source: Bulk API 2.0 Developer Guide, "Prepare
CSV Files": everything is quoted, dates are ISO 8601 in UTC, doubles as Java prints them.
"""

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from crm_sync.simulators.salesforce.rows import Numbers, Selection
from crm_sync.simulators.salesforce.schema import Row
from crm_sync.simulators.salesforce.soql_columns import Column

PART_ROWS = 5_000
READ_BYTES = 1 << 18
LARGE = 1e7


@dataclass(frozen=True, slots=True)
class Dialect:
    delimiter: str
    line_ending: str


class Spool:
    """Lines of CSV in a file that has no name; ``ends`` says where each ends."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile(prefix="crm-sync-bulk-")  # noqa: SIM115 - see the next line
        weakref.finalize(self, self.file.close)
        self._ends: list[Numbers] = []
        self._size = 0
        self.ends: Numbers = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.ends)

    def append(self, lines: Sequence[bytes]) -> None:
        ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines))) + self._size
        self._ends.append(ends)
        self._size += sum(map(len, lines))
        self.file.write(b"".join(lines))

    def close(self) -> None:
        """No more lines."""
        self.file.flush()
        self.ends = np.concatenate([self.ends, *self._ends])
        self._ends.clear()

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Lines ``start`` to ``end``, in pieces."""
        at = int(self.ends[start - 1]) if start else 0
        stop = int(self.ends[end - 1]) if end else 0
        while at < stop:
            piece = os.pread(self.file.fileno(), min(READ_BYTES, stop - at), at)
            at += len(piece)
            yield piece


def render(
    rows: Sequence[Row], columns: Sequence[Column], dialect: Dialect, wanted: Callable[[], bool]
) -> Spool:
    """The values of these columns, rows made as they are needed, for as long as somebody wants them."""
    spool = Spool()
    cells = [_cells_of(column.field.type) for column in columns]
    for values in takewhile(lambda _: wanted(), _parts(rows, columns)):
        spool.append(_lines([cell(column) for cell, column in zip(cells, values, strict=True)], dialect))
    spool.close()
    return spool


def header(columns: Sequence[Column], dialect: Dialect) -> bytes:
    return _lines([[column.header] for column in columns], dialect)[0]


def _parts(rows: Sequence[Row], columns: Sequence[Column]) -> Iterator[list[Sequence[Any]]]:
    """The columns of some rows after the other."""
    places = [column.place for column in columns if column.place is not None]
    if isinstance(rows, Selection) and len(places) == len(columns):
        yield from (rows.columns(part, places) for part in rows.parts(PART_ROWS))
        return
    parts = (
        map(rows.rows, rows.parts(PART_ROWS))
        if isinstance(rows, Selection)
        else (rows[start : start + PART_ROWS] for start in range(0, len(rows), PART_ROWS))
    )
    for part in parts:
        yield [[column.get(row) for row in part] for column in columns]


def _lines(columns: Sequence[Sequence[str]], dialect: Dialect) -> list[bytes]:
    between, end = f'"{dialect.delimiter}"', f'"{dialect.line_ending}'
    columns = [_escaped(column) for column in columns]
    return [f'"{line}{end}'.encode() for line in map(between.join, zip(*columns, strict=True))]


def _escaped(column: Sequence[str]) -> Sequence[str]:
    return [cell.replace('"', '""') for cell in column] if '"' in "".join(column) else column


def _cells_of(kind: str) -> Callable[[Sequence[Any]], list[str]]:
    convert = _CONVERT.get(kind)
    if convert is None:
        return lambda column: [v or "" for v in column]
    return lambda column: ["" if v is None else convert(v) for v in column]


def _double(value: float) -> str:
    """As Java prints a double: 1000.0, 1.0E7."""
    if value and not 1e-3 <= abs(value) < LARGE:
        mantissa, exponent = f"{value:.16e}".split("e")
        digits = repr(float(mantissa))
        return f"{digits}E{int(exponent)}"
    return repr(float(value))


_CONVERT: dict[str, Callable[[Any], str]] = {
    "datetime": lambda text: f"{text[:-5]}Z",
    "boolean": lambda value: "true" if value else "false",
    "int": str,
    "long": str,
    "double": _double,
    "currency": _double,
    "percent": _double,
}
