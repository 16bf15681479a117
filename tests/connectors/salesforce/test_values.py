"""Spellings: whatever way Salesforce says a value, the port says it in one."""

import json
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_sync.connectors.salesforce import api, values
from crm_sync.core.values import decimal_text


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("7508d00000Ihhl5", "7508d00000Ihhl5AAB"),
        ("7501v00000u4PdK", "7501v00000u4PdKAAU"),
        ("0050Y000000i6KT", "0050Y000000i6KTQAY"),
        ("7508d00000Ihhl5AAB", "7508d00000Ihhl5AAB"),
        ("not an id", "not an id"),
        ("", ""),
    ],
)
def test_ids_have_eighteen_characters(short, full):
    assert values.full_id(short) == full


@pytest.mark.parametrize(
    ("json_text", "kind", "expected"),
    [
        ("1000.0", "currency", "1000"),
        ("1.0E7", "double", "10000000"),
        ("-0.0", "double", "0"),
        ("0.10", "percent", "0.1"),
        ("123456789012345678", "double", "123456789012345678"),
        ("1234567890123456.78", "currency", "1234567890123456.78"),
        ("7", "int", "7"),
        ("100", "int", "100"),
        ("true", "boolean", "true"),
        ("false", "boolean", "false"),
        ('"2026-01-02T03:04:05.000+0000"', "datetime", "2026-01-02T03:04:05.000Z"),
        ('"2026-01-02"', "date", "2026-01-02"),
        ('"C;A;B"', "multipicklist", "A;B;C"),
        ('"b;a"', "string", "b;a"),
        ('""', "string", None),
        ("null", "string", None),
    ],
)
def test_json_becomes_the_ports_text(json_text, kind, expected):
    assert values.to_text(api.parse(json_text.encode()), kind) == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**15), max_value=10**15))
def test_numbers_keep_every_digit_both_ways(number):
    text = decimal_text(number)
    assert "E" not in text
    assert Decimal(text) == number
    sent = orjson.dumps({"n": values.to_json(text, "double")})
    assert json.loads(sent, parse_float=Decimal, parse_int=Decimal)["n"] == number


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("one", "double"),
        ("1.5", "int"),
        ("NaN", "double"),
        ("1e999", "currency"),
        ("yes", "boolean"),
        ("1_0x", "long"),
    ],
)
def test_text_of_another_type_is_refused_without_repeating_it(value, kind):
    with pytest.raises(ValueError) as caught:
        values.to_json(value, kind)
    assert value not in str(caught.value)
