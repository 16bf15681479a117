"""What counts as the same value when a record is looked at before it is written."""

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_sync.connectors import unmoved
from crm_sync.connectors.crm import Operation
from crm_sync.core.spec import FieldType
from crm_sync.hub.sql import canonical_crm

T = FieldType
SPELLED = [
    (T.STRING, "a\r\nb", "a\nb"),
    (T.STRING, " a ", "a"),
    (T.STRING, "", None),
    (T.STRING, "a\0b", "a\ufffeb"),
    (T.NUMBER, "1.0E7", "10000000"),
    (T.NUMBER, "1.50", "+1.5"),
    (T.NUMBER, "-0", "0"),
    (T.DATETIME, "2026-01-02T03:04:05.000+0000", "2026-01-02T03:04:05Z"),
    (T.DATETIME, "2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:05.678Z"),
    (T.BOOLEAN, "TRUE", "true"),
    (T.MULTIPICKLIST, "b;a; ", "a;b"),
]
DIFFERENT = [
    (T.STRING, "a", "A"),
    (T.STRING, None, "a"),
    (T.NUMBER, "1", "1.0000000000000000000000000001"),
    (T.NUMBER, "1", "one"),
    (T.NUMBER, "NaN", "sNaN"),
    (T.DATE, "2026-01-02", "2026-01-03"),
    (T.DATETIME, "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z"),
    (T.DATETIME, "2026-01-02T03:04:05", "2026-01-02T03:04:05Z"),
    (T.BOOLEAN, None, "false"),
    (T.MULTIPICKLIST, "a", "a;b"),
    (T.PHONE, "+1 415 555 0100", "+14155550100"),
]


@pytest.mark.parametrize(("kind", "one", "other"), SPELLED)
def test_spellings_of_one_value_are_the_same(kind, one, other):
    assert unmoved.same(kind, one, other)
    assert unmoved.same(kind, other, one)


@pytest.mark.parametrize(("kind", "one", "other"), DIFFERENT)
def test_different_values_are_not(kind, one, other):
    assert not unmoved.same(kind, one, other)


@given(kind=st.sampled_from(sorted(FieldType)), one=st.text(), other=st.text())
def test_no_text_makes_it_raise(kind, one, other):
    assert unmoved.same(kind, one, one)
    assert unmoved.same(kind, one, other) == unmoved.same(kind, other, one)


def test_what_a_crm_says_is_the_same_in_the_mirrors_spelling(fresh_database_url):
    """Whatever comes into the mirror by way of SQL has not moved when it is seen again as it was."""
    from crm_sync.hub.migrate import upgrade

    upgrade(fresh_database_url)
    texts = {
        text for _, one, other in SPELLED + DIFFERENT for text in (one, other) if text and "\0" not in text
    }
    texts |= {
        "1e99",
        "007",
        "+1",
        ".5",
        "5.",
        "a;a;b",
        ";",
        " ; ",
        "2026-01-02T03:04:05.1Z",
        "2026-1-2",
        "0E-7",
        "٣",
    }
    with psycopg.connect(fresh_database_url) as conn:
        for kind in FieldType:
            query = psycopg.sql.SQL("select {}").format(canonical_crm(kind, psycopg.sql.SQL("%s::text")))
            number = query.as_string(conn).count("%s")
            for text in sorted(texts):
                row = conn.execute(query, [text] * number).fetchone()
                assert row is not None
                assert unmoved.same(kind, text, row[0]), (kind, text, row[0])


def test_only_what_is_expected_and_shown_is_compared():
    types = {"A": T.STRING, "B": T.STRING}
    operation = Operation("k", "update", "1", {"A": "new", "B": "new"}, {"A": "old"})
    assert unmoved.moved(types, operation, {"A": "old", "B": "other"}) is None
    assert unmoved.moved(types, operation, {"A": "new"}) is None, "it says already what would be written"
    assert unmoved.moved(types, operation, {}) is None, "not shown"
    found = unmoved.moved(types, operation, {"A": "other"})
    assert found is not None
    assert found.error is not None
    assert found.error.fields == ("A",)
    assert (
        unmoved.moved(types, Operation("k", "create", None, {"A": "new"}, {"A": "old"}), {"A": "x"}) is None
    )
