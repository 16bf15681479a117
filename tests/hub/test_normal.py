"""What SQL takes for normal is what `to_hub` leaves as it is, for every type."""

import unicodedata
from collections.abc import Callable
from random import Random

import psycopg
import pytest
from psycopg import sql

from crm_sync.core.normalise import to_hub
from crm_sync.core.spec import FieldSpec, FieldType, VendorField
from crm_sync.hub.normal import as_normal, normal


def field(field_type: FieldType, **more: object) -> FieldSpec:
    return FieldSpec("f", VendorField("F", field_type), **more)  # type: ignore[arg-type]


Maker = Callable[[Random], str]


def of(alphabet: str, most: int, least: int = 0) -> Maker:
    return lambda r: "".join(r.choices(alphabet, k=r.randint(least, most)))


def one(*choices: str) -> Maker:
    return lambda r: r.choice(choices)


def joined(*makers: Maker) -> Maker:
    return lambda r: "".join(make(r) for make in makers)


def number(low: int, high: int, digits: int = 2) -> Maker:
    return lambda r: f"{r.randint(low, high):0{digits}}"


JUNK = of("aZ09 .-_+@:\n\r\t\u00a0é\u0301ﬁＡİſ\u212aå", 12)
DIGITS = of("0123456789", 20, 1)
LABEL = of("ab9-_+", 5)
LAST = one("com", "Com", "test", "local", "c", "example", "onion", "COM.", "xn--p1ai", "c0m", "İt")
MAILS = joined(LABEL, one("", "", ".x", ".", "@"), one("@"), LABEL, one("", ".y", ".", "--"), one("."), LAST)
NUMBERS = joined(one("", "", "-", "+"), DIGITS, one("", ".", ",", "e"), one("", "0", "1", "50", "05"))
DAYS = joined(number(0, 9999, 4), one("-"), number(0, 13), one("-"), number(0, 32))
TIMES = joined(one("T"), number(0, 24), one(":"), number(0, 60), one(":"), number(0, 61),
               one(".000", ".123", "", ".1", ".1234"), one("Z", "Z", "", "+00:00", "z"))  # fmt: skip
TEXTS = of("az AZ09!~ëßłЯёйאبيァ語한\u1ea0\n\r\t\u0301\u3099\u0327\u11a8\u00a0\u2028\ufffe", 8)
KINDS: dict[FieldType, Maker] = {
    FieldType.STRING: TEXTS,
    FieldType.ID: TEXTS,
    FieldType.PICKLIST: TEXTS,
    FieldType.EMAIL: MAILS,
    FieldType.NUMBER: NUMBERS,
    FieldType.BOOLEAN: one("true", "false", "TRUE", "t", "1", "yes", " true", "no"),
    FieldType.DATE: DAYS,
    FieldType.DATETIME: joined(DAYS, TIMES),
    FieldType.PHONE: joined(one("+", "", "+1", "+44"), DIGITS),
    FieldType.URL: MAILS,
    FieldType.MULTIPICKLIST: TEXTS,
    FieldType.JSON: NUMBERS,
}


def found_normal(conn: psycopg.Connection, spec: FieldSpec, values: list[str]) -> list[tuple[str, str]]:
    """(value, what SQL says it becomes) of those values that SQL takes for normal."""
    query = sql.SQL("select v, {} from unnest(%s::text[]) v where {}").format(
        as_normal(spec, sql.SQL("v")), normal(spec, sql.SQL("v"))
    )
    return conn.execute(query, [values]).fetchall()


def assert_exact(conn: psycopg.Connection, spec: FieldSpec, values: list[str]) -> int:
    found = found_normal(conn, spec, values)
    means = to_hub(spec, [value for value, _ in found])
    assert [(value, mine) for (value, mine), theirs in zip(found, means, strict=True) if mine != theirs] == []
    return len(found)


@pytest.mark.parametrize("field_type", KINDS)
def test_what_is_normal_stays_as_it_is(conn: psycopg.Connection, field_type: FieldType) -> None:
    """10,000 values of each type, of the kind and near it."""
    r = Random(f"{field_type}")
    assert_exact(conn, field(field_type), [KINDS[field_type](r) for _ in range(10_000)])
    assert_exact(conn, field(field_type), [JUNK(r) for _ in range(2_000)])
    assert_exact(conn, field(field_type), [KINDS[field_type](r) + JUNK(r) for _ in range(2_000)])


@pytest.mark.parametrize("field_type", [FieldType.STRING, FieldType.EMAIL])
def test_every_character_alone_and_in_the_middle(conn: psycopg.Connection, field_type: FieldType) -> None:
    characters = [chr(c) for c in range(1, 0x20000) if not 0xD800 <= c <= 0xDFFF]
    spec = field(field_type)
    for template in ("{}", "a{}b@c.de", "a@b{}c.de", "e{}", "가{}"):
        assert_exact(conn, spec, [template.format(c) for c in characters])
    passed = [v for v, _ in found_normal(conn, field(FieldType.STRING), characters)]
    assert all(unicodedata.combining(c) == 0 for c in passed)


def test_the_usual_is_normal(conn: psycopg.Connection) -> None:
    """The point of it: hardly anything usual has to leave Postgres."""
    usual = {
        FieldType.STRING: [
            "Müller",
            "O'Neill & Sons",
            "Дмитрий",
            "太郎",
            "지우",
            "Ngọc",
            "two\nlines",
            "عميل",
        ],
        FieldType.EMAIL: ["a.b-c+d_e@mail-1.example.org", "Ann@Example.COM"],
        FieldType.NUMBER: ["0", "-1", "12.5", "0.05", "999999999999999999"],
        FieldType.BOOLEAN: ["true", "false"],
        FieldType.DATE: ["2026-02-28", "1963-01-01"],
        FieldType.DATETIME: ["2027-01-04T21:00:00.000Z"],
    }
    for field_type, values in usual.items():
        assert assert_exact(conn, field(field_type), values) == len(values), field_type


def test_a_value_with_a_picklist_map_is_never_normal(conn: psycopg.Connection) -> None:
    assert not found_normal(conn, field(FieldType.PICKLIST, to_hub={"New": "lead"}), ["New", "lead"])
