"""One page of a bulk query's result: downloaded into a file, proved to be whole, handed on in pieces.

An answer of status 200 may still be cut short, hold the rows of another page, or be in another charset. Salesforce says
in a header how many records it sends, so a page is only handed on when the file holds as many, all of it UTF-8, with
every column that was asked for. Otherwise it is downloaded again. The files have no name: they are gone when they are
closed, or when the process ends in whatever way.
"""

import codecs
import csv
import io
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import httpx

from crm_sync.connectors.backoff import jitter
from crm_sync.connectors.crm import CsvPage
from crm_sync.connectors.download import OtherBytesError, chunks
from crm_sync.connectors.salesforce.api import Api
from crm_sync.core.errors import CrmError, ErrorClass

log = logging.getLogger(__name__)

FAMILY = "bulk_query"
_READ = 1 << 20
_ID = re.compile(rb'^"(\w{15}|\w{18})",', re.MULTILINE)


class _DamagedError(Exception):
    """The answer is not the page; its text says why not, without any value."""


@dataclass(slots=True)
class ResultPage:
    """A page in a file. rows: records in it. cuts: offsets where it may be cut, the first behind the header, the last at
    its end. next: locator of the page behind it, None if there is none."""

    file: IO[bytes]
    columns: tuple[str, ...] = ()
    rows: int = 0
    cuts: tuple[int, ...] = ()
    next: str | None = None

    def close(self) -> None:
        self.file.close()

    def pieces(self, roles: Mapping[str, str], progress: Mapping[str, Any]) -> Iterator[CsvPage]:
        """The page as the port has it, each piece with the header; `progress` goes with the last. Closes the file."""
        try:
            for start, end in zip(self.cuts, self.cuts[1:], strict=False):
                last = end == self.cuts[-1]
                yield CsvPage(self.columns, roles, self._bytes(start, end), progress if last else None)
        finally:
            self.close()

    def _bytes(self, start: int, end: int) -> Iterator[bytes]:
        yield os.pread(self.file.fileno(), self.cuts[0], 0)
        while start < end:
            piece = os.pread(self.file.fileno(), min(_READ, end - start), start)
            start += len(piece)
            yield piece


def fetch(api: Api, url: str, params: Mapping[str, str], wanted: Sequence[str], most: int) -> ResultPage:
    """Download a page. wanted: columns that it must have. most: records of a piece.

    Raises CrmError: TRANSIENT if no whole page comes in as many attempts as a request gets, else as the transport does.
    """
    settings = api.transport.settings
    what = f"the result page {params.get('locator') or url.rpartition('locator=')[2] or 'at the beginning'}"
    for attempt in range(1, settings.attempts + 1):
        page = ResultPage(tempfile.TemporaryFile(prefix="crm_sync-"))  # noqa: SIM115 - closed by who gets it
        try:
            _download(api, url, params, page, most)
            _check_columns(page, wanted)
        except (_DamagedError, OtherBytesError) as damage:
            page.close()
            log.info("%s: %s is damaged (%s)", api.transport.connection, what, damage)
            if attempt == settings.attempts:
                text = f"{api.transport.connection}: {what} came damaged {attempt} times: {damage}"
                raise CrmError(ErrorClass.TRANSIENT, text) from damage
            settings.sleep(jitter(attempt))
        except BaseException:
            page.close()
            raise
        else:
            return page
    raise AssertionError("unreachable: the last attempt returns or raises")


def _download(api: Api, url: str, params: Mapping[str, str], page: ResultPage, most: int) -> None:
    told: dict[str, str] = {}

    def open_again() -> httpx.Response:
        response = api.transport.request(
            "GET",
            url,
            family=FAMILY,
            idempotent=True,
            params=params or None,
            headers={"Accept": "text/csv"},
            stream=True,
        )
        told.update((name.lower(), value) for name, value in response.headers.items())
        return response

    table = _Table(most)
    for chunk in chunks(open_again, api.transport.settings):
        table.feed(chunk)
        page.file.write(chunk)
    page.file.flush()
    table.finish()
    declared = told.get("sforce-numberofrecords", "")
    if declared.isdecimal() and int(declared) != table.rows:
        raise _DamagedError(f"{table.rows} records instead of the {declared} that were announced")
    if not table.cuts and declared != "0":
        raise _DamagedError("it is empty")
    page.rows, page.cuts = table.rows, tuple(table.cuts)
    locator = told.get("sforce-locator", "null")
    page.next = None if locator in {"null", ""} else locator  # the end is told by the word null


def _check_columns(page: ResultPage, wanted: Sequence[str]) -> None:
    if not page.cuts:
        return
    header = os.pread(page.file.fileno(), page.cuts[0], 0).decode("utf-8-sig")
    page.columns = tuple(next(csv.reader(io.StringIO(header)), ()))
    missing = [name for name in wanted if name not in page.columns]
    if missing:
        raise _DamagedError(f"it lacks the columns {', '.join(missing)}")


@dataclass(slots=True)
class _Table:
    """Reads along with CSV that comes in pieces of bytes: counts records, notes where it may be cut, checks UTF-8.

    A line end belongs to a value if an odd number of quotation marks stands before it in the record.
    """

    most: int
    rows: int = -1  # the header is not one
    cuts: list[int] = field(default_factory=list)
    _at: int = 0
    _inside: bool = False
    _open: bool = False  # whether there is anything behind the last line end
    _decoder: Any = field(default_factory=codecs.getincrementaldecoder("utf-8"))

    def feed(self, chunk: bytes) -> None:
        try:
            self._decoder.decode(chunk)
        except UnicodeDecodeError as error:
            found = [match[1].decode() for match in _ID.finditer(chunk, 0, max(error.start, 0))]
            where = f", about at record {found[-1]}" if found else ""
            raise _DamagedError(f"it is not UTF-8 text behind row {max(self.rows, 0)}{where}") from None
        at, inside, rows = self._at, self._inside, self.rows
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            at += len(line) + 1
            if line.count(b'"') & 1:
                inside = not inside
            if not inside:
                rows += 1
                if rows % self.most == 0:
                    self.cuts.append(at)
        if rest.count(b'"') & 1:
            inside = not inside
        self._open = bool(rest) or (self._open and not lines)
        self._at, self._inside, self.rows = at + len(rest), inside, rows

    def finish(self) -> None:
        try:
            self._decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise _DamagedError("it ends within a character") from None
        if self._inside:
            raise _DamagedError("it ends within a value")
        if self._open:  # the last line need not have an end
            self.rows += 1
        if self.rows < 0:
            self.rows = 0
        elif not self.cuts or self.cuts[-1] != self._at:
            self.cuts.append(self._at)
