"""A page of a bulk result is handed on whole or not at all, whatever an answer of status 200 holds."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_sync.connectors.http import Transport
from crm_sync.connectors.salesforce import errors, result_page
from crm_sync.connectors.salesforce.api import Api
from crm_sync.connectors.salesforce.result_page import fetch
from crm_sync.core.errors import CrmError, ErrorClass
from tests.connectors.server import Answer

WANTED = ("Id", "Name")
RECORD = "003xx000004TmiQAAS"


def table(rows: list[tuple[str, ...]], header: tuple[str, ...] = WANTED) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([header, *rows])
    return out.getvalue().encode()


def answer(body: bytes, count: int | None, locator: str = "null") -> Answer:
    headers = {"Content-Type": "text/csv; charset=UTF-8", "Sforce-Locator": locator}
    return Answer(200, body, headers | ({} if count is None else {"Sforce-NumberOfRecords": str(count)}))


@pytest.fixture
def api(server, settings):
    transport = Transport("salesforce", server.url, settings, classify=errors.classify)
    yield Api(transport, "62.0")
    transport.close()


def rows_of(api: Api, most: int = 50_000) -> list[list[str]]:
    page = fetch(api, "/results", {}, WANTED, most)
    found = []
    for piece in page.pieces({}, {"place": 1}):
        header, *rows = csv.reader(io.StringIO(b"".join(piece.chunks).decode(), newline=""), strict=True)
        assert tuple(header) == piece.columns
        assert len(rows) <= most
        found += rows
    assert page.file.closed
    assert len(found) == page.rows
    return found


ROWS = [(RECORD, 'first\nsecond "line"'), (RECORD, "ü,\r\n\n"), (RECORD, "")]
GOOD = answer(table(ROWS), 3)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (answer(table(ROWS[:2]), 3), "2 records instead of the 3"),
        (answer(table([*ROWS[:2], *ROWS]), 3), "5 records instead of the 3"),
        (answer(table(ROWS)[:-20], 3), "within a value"),
        (answer(table(ROWS[:1]) + '"a","ü'.encode()[:-1], None), "within a character"),
        (answer(table(ROWS) + b"\xfc", 3), "not UTF-8"),
        (answer(table(ROWS).decode().encode("cp1252"), 3), f"not UTF-8 text behind row 0, about at record {RECORD}"),
        (answer(table([(RECORD,)], ("Id",)), 1), "lacks the columns Name"),
        (answer(b"", 3), "0 records instead"),
        (answer(b"", None), "empty"),
        (Answer(204), "empty"),
        (answer(b"just words", None), "lacks the columns Id, Name"),
    ],
    ids=range(11),
)  # fmt: skip
def test_a_damaged_page_is_downloaded_again(api, server, slept, bad, told):
    server.answers(bad, GOOD)
    assert rows_of(api) == [list(row) for row in ROWS]
    assert len(slept) == 1
    server.answers(bad)
    with pytest.raises(CrmError, match=told) as caught:
        fetch(api, "/results?locator=abc", {}, WANTED, 10)
    assert caught.value.error_class is ErrorClass.TRANSIENT
    assert "page abc" in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        Answer(200, b"<html>Please log in", {"Content-Type": "text/html"}),
        Answer(
            200, b"\x1f\x8b\x08\x00\xff\xff\xff", {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
        ),
        Answer(200, table(ROWS), {"Content-Type": "text/csv"}, cut=40),
        Answer(503, b"busy"),
        Answer(silent=True),
    ],
    ids=["login page", "bad gzip", "cut", "503", "silence"],
)
def test_what_is_no_answer_is_asked_for_again(api, server, bad):
    server.answers(bad, GOOD)
    assert rows_of(api) == [list(row) for row in ROWS]


def test_a_page_that_is_another_one_when_it_is_taken_up_again_is_begun_anew(api, server):
    other = table([(RECORD, "x" * 100)] * 3)
    server.answers(Answer(200, other, GOOD.headers, cut=90), GOOD)
    assert rows_of(api) == [list(row) for row in ROWS]


def test_a_header_alone_is_an_empty_page(api, server):
    server.answers(answer(table([]), 0))
    assert rows_of(api) == []
    server.answers(answer(b"", 0))
    assert rows_of(api) == []


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_name(api, server):
    server.answers(answer(b"\xef\xbb\xbf" + table(ROWS), 3))
    page = fetch(api, "/results", {}, WANTED, 10)
    page.close()
    assert page.columns == WANTED


def test_the_end_of_the_last_line_may_be_missing(api, server):
    server.answers(answer(table(ROWS)[:-1], 3))
    assert rows_of(api) == [list(row) for row in ROWS]


CELLS = st.text(st.sampled_from('a"\n\r,ü€😀'), max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=20), st.integers(1, 9), st.integers(1, 7))
def test_records_are_counted_and_cut_as_csv_has_them(rows, most, size):
    body = table(rows)
    found = result_page._Table(most)
    for start in range(0, len(body), size):
        found.feed(body[start : start + size])
    found.finish()
    assert found.rows == len(rows)
    pieces = [body[one:other] for one, other in zip(found.cuts, found.cuts[1:], strict=False)]
    assert body[: found.cuts[0]] + b"".join(pieces) == body
    read = [list(csv.reader(io.StringIO(piece.decode(), newline=""), strict=True)) for piece in pieces]
    assert [tuple(row) for piece in read for row in piece] == rows
    assert all(len(piece) == most for piece in read[:-1])
