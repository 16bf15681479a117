"""The expressions by which values are spelled, matched and rendered in Postgres."""

import psycopg
import pytest
from psycopg import sql

from crm_sync.core.spec import FieldSpec, FieldType, VendorField
from crm_sync.hub.migrate import upgrade
from crm_sync.hub.sql import HUB_TYPES, canonical_crm, from_text, render, to_text


@pytest.fixture
def migrated(database_url: str, conn: psycopg.Connection) -> psycopg.Connection:
    upgrade(database_url)
    return conn


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        ("canon_number", "1.0E7", "10000000"),
        ("canon_number", "01.50", "1.5"),
        ("canon_number", "-.5", "-0.5"),
        ("canon_number", "ten", "ten"),
        ("canon_number", "1e999999", "1e999999"),
        ("canon_datetime", "2026-01-02T03:04:05+0000", "2026-01-02T03:04:05.000Z"),
        ("canon_datetime", "2026-01-02T03:04:05.12Z", "2026-01-02T03:04:05.120Z"),
        ("canon_datetime", "yesterday", "yesterday"),
    ],
)
def test_one_spelling_for_each_value_and_bad_ones_as_they_are(
    migrated: psycopg.Connection, function: str, given: str, expected: str
) -> None:
    row = migrated.execute(sql.SQL("select sync.{}(%s)").format(sql.Identifier(function)), [given]).fetchone()
    assert row == (expected,)


@pytest.mark.parametrize(
    ("kind", "function", "texts"),
    [
        (
            FieldType.DATETIME,
            "sync.canon_datetime({})",
            ["2026-01-02T03:04:05.678+0000", "2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678+00:00",
             "2026-01-02T03:04:05.678+0100", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678Z\n", "٢٠٢٦", ""],
        ),
        (
            FieldType.MULTIPICKLIST,
            "sync.canon_multi(string_to_array({}, ';'))",
            ["a;b", "b;a", "a;a", "a", " a ", "B;a", "a;é", "a; b", "a ;b", ";a", "a;", " a;b", "a;b ", "a;b;;c", "a;;b",
             "c;b;a", "b;a;b", ";", " ; ", "", "b c;a b"],
        ),
    ],
)  # fmt: skip
def test_the_short_way_to_a_spelling_gives_the_same(
    migrated: psycopg.Connection, kind: FieldType, function: str, texts: list[str]
) -> None:
    value = sql.SQL("v")
    query = sql.SQL("select v, {}, {} from unnest(%s::text[]) v").format(
        canonical_crm(kind, value), sql.SQL(function).format(sql.SQL("nullif(v, '')"))
    )
    rows = migrated.execute(query, [texts]).fetchall()
    assert len(rows) == len(texts)
    for text, short, long in rows:
        assert short == long, text


@pytest.mark.parametrize(
    ("kind", "texts", "key"),
    [
        ("email", ["Ann@Example.com", " ann@example.COM "], "ann@example.com"),
        ("url", ["https://www.Example.com/a?b", "example.com", "HTTP://example.com:80"], "example.com"),
        ("string", [" Acme ", "ACME", "Ａcme"], "acme"),
        ("string", ["", "  ", None], None),
    ],
)
def test_what_counts_as_the_same_when_records_are_matched(
    migrated: psycopg.Connection, kind: str, texts: list[str | None], key: str | None
) -> None:
    found = [migrated.execute("select sync.match_key(%s, %s)", [kind, text]).fetchone() for text in texts]
    assert found == [(key,)] * len(texts)


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        ("{first} {last}", {"first": "Ann", "last": "Lee"}, "Ann Lee"),
        ("{first} {last}", {"first": None, "last": "Lee"}, "Lee"),
        ("{first} {last}", {"first": None, "last": "  "}, None),
        ("{a}\n {b}%s 'q'", {"a": "x", "b": "y  z"}, "x y z%s 'q'"),
    ],
)
def test_templates_are_rendered_with_blanks_collapsed(
    migrated: psycopg.Connection, template: str, row: dict[str, str | None], text: str | None
) -> None:
    query = sql.SQL("select {}").format(
        render(template, lambda name: sql.SQL("{}::text").format(sql.Literal(row[name])))
    )
    assert migrated.execute(query).fetchone() == (text,)
    with_parameters = sql.SQL("{} where %s").format(query)
    assert migrated.execute(with_parameters, [True]).fetchone() == (text,)  # no percent sign is one of them


SAMPLES = {
    FieldType.DATE: "2024-02-29",
    FieldType.DATETIME: "2026-03-29T01:30:00.250Z",
    FieldType.NUMBER: "1234567890.05",
    FieldType.BOOLEAN: "false",
    FieldType.MULTIPICKLIST: "a;b c;d",
    FieldType.JSON: '{"a": [1, "ü"]}',
    FieldType.REFERENCE: "0194f0f0-0000-7000-8000-000000000001",
}


@pytest.mark.parametrize("kind", list(FieldType))
def test_a_value_goes_into_its_column_and_comes_back(migrated: psycopg.Connection, kind: FieldType) -> None:
    spec = FieldSpec("f", VendorField("F", kind), entity="x" if kind is FieldType.REFERENCE else None)
    text = SAMPLES.get(kind, 'O\'Brien; "quoted" \U0001f600 \u05e9\n%s')
    typed = from_text(spec, sql.SQL("%s::text"))
    query = sql.SQL("select {} from (select {} as f) v").format(
        to_text(spec, sql.Identifier("v", "f")), typed
    )
    assert HUB_TYPES[kind]
    assert migrated.execute(query, [text]).fetchone() == (text,)
