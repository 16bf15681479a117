"""Canonical forms: examples for people, laws for everything else."""

import json
from dataclasses import replace
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crm_sync.core import addresses, values
from crm_sync.core.normalise import REMEMBERED, TEXT_TYPES, Invalid, to_crm, to_hub
from crm_sync.core.spec import FieldSpec, FieldType, VendorField


def spec(kind: FieldType, **more) -> FieldSpec:
    return FieldSpec("field_name", VendorField("Vendor", kind), **more)


def one(kind: FieldType, text: str | None, *, check: bool = True, **more):
    (result,) = to_hub(spec(kind, **more), [text], check=check)
    return result


STAGES = {"Open": "open", "Closed Won": "won", "Closed Lost": "lost"}
BACK = {ours: theirs for theirs, ours in STAGES.items()}

GOOD = [
    (FieldType.STRING, "  Zoe\u0308\u00a0", "Zoë"),
    (FieldType.STRING, "one\r\ntwo\rthree\n", "one\ntwo\nthree"),
    (FieldType.STRING, "a  b", "a  b"),
    (FieldType.STRING, "=1+1", "=1+1"),
    (FieldType.STRING, "👩‍👩‍👧 שלום", "👩‍👩‍👧 שלום"),
    (FieldType.STRING, "x" * 131_072, "x" * 131_072),
    (FieldType.EMAIL, " Ann.O'Hara+x@Mail.Example ", "ann.o'hara+x@mail.example"),
    (FieldType.EMAIL, "ann@some.test", "ann@some.test"),
    (FieldType.EMAIL, "JÜRGEN@MÜNCHEN.DE", "jürgen@münchen.de"),
    (FieldType.EMAIL, "a@xn--mnchen-3ya.de", "a@münchen.de"),
    (FieldType.PHONE, "(415) 555-0123", "+14155550123"),
    (FieldType.PHONE, "+1 415.555.0123 ext. 42", "+14155550123;ext=42"),
    (FieldType.PHONE, "+14155550123;ext=42", "+14155550123;ext=42"),
    (FieldType.PHONE, "1-800-FLOWERS", "+18003569377"),
    (FieldType.PHONE, "tel:+44-20-7946-0958", "+442079460958"),
    (FieldType.PHONE, "+44 (0)20 7946 0958", "+442079460958"),
    (FieldType.PHONE, "+39 06 1234 5678", "+390612345678"),
    (FieldType.PHONE, "٤١٥٥٥٥٠١٢٣", "+14155550123"),
    (FieldType.URL, "Example.COM/Path?Q=A#B", "example.com/Path?Q=A#B"),
    (FieldType.URL, "HTTPS://WWW.Example.com:8443/", "https://www.example.com:8443/"),
    (FieldType.URL, "http://intranet/x", "http://intranet/x"),
    (FieldType.URL, "https://हिन्दी.भारत", "https://हिन्दी.भारत"),
    (FieldType.URL, "https://[2001:DB8::1]/", "https://[2001:db8::1]/"),
    (FieldType.DATE, "2026-03-29", "2026-03-29"),
    (FieldType.DATE, "2026-03-29T01:30:00+02:00", "2026-03-28"),
    (FieldType.DATE, "2026-03-29 00:00:00", "2026-03-29"),
    (FieldType.DATE, "1774742400000", "2026-03-29"),
    (FieldType.DATETIME, "2026-03-29T01:30:00Z", "2026-03-29T01:30:00.000Z"),
    (FieldType.DATETIME, "2026-03-29T03:30:00.1239+0200", "2026-03-29T01:30:00.123Z"),
    (FieldType.DATETIME, "2026-03-29 01:30:00.5 +00:00", "2026-03-29T01:30:00.500Z"),
    (FieldType.DATETIME, "2026-03-29 01:30 UTC", "2026-03-29T01:30:00.000Z"),
    (FieldType.DATETIME, "1774747800123", "2026-03-29T01:30:00.123Z"),
    (FieldType.DATETIME, "-1000000000001", "1938-04-24T22:13:19.999Z"),
    (FieldType.NUMBER, "1.50", "1.5"),
    (FieldType.NUMBER, "+007.", "7"),
    (FieldType.NUMBER, ".5", "0.5"),
    (FieldType.NUMBER, "1.5E3", "1500"),
    (FieldType.NUMBER, "1e-3", "0.001"),
    (FieldType.NUMBER, "-0.00", "0"),
    (FieldType.NUMBER, "0e999999", "0"),
    (
        FieldType.NUMBER,
        "12345678901234567890.12345678901234567890",
        "12345678901234567890.1234567890123456789",
    ),
    (FieldType.BOOLEAN, "TRUE", "true"),
    (FieldType.BOOLEAN, "no", "false"),
    (FieldType.BOOLEAN, "1", "true"),
    (FieldType.PICKLIST, " Prospecting ", "Prospecting"),
    (FieldType.MULTIPICKLIST, ";b; a ;b;;", "a;b"),
    (FieldType.JSON, '{ "b": 1.50, "a": [true, null, "é"] }', '{"a":[true,null,"é"],"b":1.5}'),
    (
        FieldType.JSON,
        '{"n": 12345678901234567890.000000000000000000001}',
        '{"n":12345678901234567890.000000000000000000001}',
    ),
    (FieldType.ID, " 0035g00000XyZaBAAV ", "0035g00000XyZaBAAV"),
    (FieldType.REFERENCE, "0015g00000XyZaBAAV", "0015g00000XyZaBAAV"),
]

BAD = [
    (FieldType.STRING, "a\0b", "text with a NUL byte"),
    (FieldType.STRING, "a\ud800b", "text of 3 characters"),
    (FieldType.STRING, "x" * 140_000, "text of 140,000 characters"),
    (FieldType.EMAIL, "ann.example.com", "e-mail without @"),
    (FieldType.EMAIL, "ann@example", "text of 11 characters"),
    (FieldType.EMAIL, "ann@localhost", None),
    (FieldType.EMAIL, "ann@host.local", None),
    (FieldType.EMAIL, "Ann <ann@example.com>", None),
    (FieldType.EMAIL, "a@b.com, c@d.com", None),
    (FieldType.EMAIL, "a..b@example.com", None),
    (FieldType.EMAIL, f"{'a' * 65}@example.com", None),
    (FieldType.PHONE, "12345", None),
    (FieldType.PHONE, "call me", None),
    (FieldType.PHONE, "+999 123 456 789", None),
    (FieldType.PHONE, "415-555-0123 or 415-555-0199 or 3", None),
    (FieldType.URL, "just words", None),
    (FieldType.URL, "word", None),
    (FieldType.URL, "javascript:alert(1)", None),
    (FieldType.URL, "ftp://example.com", None),
    (FieldType.URL, "https://user:pass@example.com", None),
    (FieldType.URL, "ann@example.com", None),
    (FieldType.URL, "https://example.com/a b", None),
    (FieldType.DATE, "29/03/2026", None),
    (FieldType.DATE, "2026-02-30", None),
    (FieldType.DATE, "2026-03-29T12:00:00", None),
    (FieldType.DATE, "0000-01-01", None),
    (FieldType.DATE, "20260329", None),
    (FieldType.DATETIME, "2026-03-29", None),
    (FieldType.DATETIME, "2026-03-29T12:00:00", None),
    (FieldType.DATETIME, "0001-01-01T00:00:00+14:00", None),
    (FieldType.DATETIME, "2026-03-29T24:00:00Z", None),
    (FieldType.DATETIME, "999999999999999", None),
    (FieldType.NUMBER, "many", "text of 4 characters"),
    (FieldType.NUMBER, "NaN", None),
    (FieldType.NUMBER, "Infinity", None),
    (FieldType.NUMBER, "1,234.5", None),
    (FieldType.NUMBER, "1_000", None),
    (FieldType.NUMBER, "٣", None),
    (FieldType.NUMBER, "1e1001", None),
    (FieldType.NUMBER, "1e-999999", None),
    (FieldType.NUMBER, "9" * 1001, None),
    (FieldType.BOOLEAN, "maybe", None),
    (FieldType.JSON, "{", None),
    (FieldType.JSON, "[NaN]", None),
    (FieldType.JSON, '"\\u0000"', None),
    (FieldType.JSON, '"\\ud800"', None),
    (FieldType.JSON, "[1e9999]", None),
    (FieldType.JSON, "[" * 10_000, None),
]


@pytest.mark.parametrize(("kind", "text", "canonical"), GOOD)
def test_what_is_accepted_and_how_it_is_kept(kind, text, canonical):
    assert one(kind, text) == canonical
    assert one(kind, canonical) == canonical


@pytest.mark.parametrize(("kind", "text", "value_class"), BAD)
def test_what_is_refused(kind, text, value_class):
    result = one(kind, text)
    assert isinstance(result, Invalid)
    assert result.field == "field_name"
    assert value_class in {None, result.value_class}
    assert len(str(result)) < 200


@pytest.mark.parametrize("kind", FieldType)
@pytest.mark.parametrize("text", [None, "", "  ", "\u00a0\r\n\t"])
def test_blank_is_none_for_every_type(kind, text):
    assert one(kind, text) is None
    assert to_crm(spec(kind), [text]) == [None]


def test_the_region_says_what_a_number_without_country_code_is():
    assert one(FieldType.PHONE, "020 7946 0958", region="GB") == "+442079460958"
    assert one(FieldType.PHONE, "089 123456", region="DE") == "+4989123456"
    assert isinstance(one(FieldType.PHONE, "089 123456", region="US"), Invalid)


def test_a_picklist_is_mapped_both_ways_and_the_unknown_is_named_in_our_words():
    field = spec(FieldType.PICKLIST, to_hub=STAGES, to_crm=BACK)
    won, unknown = to_hub(field, ["Closed Won ", "Secret"])
    assert won == "won"
    assert unknown == Invalid(
        "field_name",
        "text of 6 characters",
        "is not in the picklist map; the hub's values are: lost, open, won",
    )
    won, unknown = to_crm(field, ["won", "Closed Won"])
    assert won == "Closed Won"
    assert "the hub's values are: lost, open, won" in unknown.reason


def test_a_selection_of_several_is_mapped_value_by_value():
    field = spec(FieldType.MULTIPICKLIST, to_hub={"A": "z", "B": "y", "C": "z"}, to_crm={"z": "A", "y": "B"})
    good, bad = to_hub(field, ["A;B;C", "A;Q"])
    assert good == "y;z"
    assert isinstance(bad, Invalid)
    assert to_crm(field, ["z;y"]) == ["A;B"]


@pytest.mark.parametrize(
    ("text", "scale", "sent"),
    [
        ("0.125", 2, "0.12"),
        ("0.135", 2, "0.14"),
        ("2.5", 0, "2"),
        ("-0.4", 0, "0"),
        ("1e30", 2, f"1{'0' * 30}"),
    ],
)
def test_numbers_are_rounded_to_what_the_vendor_keeps_half_to_even(text, scale, sent):
    assert to_crm(spec(FieldType.NUMBER, scale=scale), [text]) == [sent]


def test_our_side_is_made_canonical_before_it_is_sent():
    assert to_crm(spec(FieldType.PHONE), ["(415) 555-0123"]) == ["+14155550123"]
    assert isinstance(to_crm(spec(FieldType.EMAIL), ["nobody"])[0], Invalid)


def test_unchecked_values_pass_if_the_hub_can_store_them():
    assert one(FieldType.EMAIL, " no mail ", check=False) == "no mail"
    assert one(FieldType.PHONE, "call me", check=False) == "call me"
    assert one(FieldType.PICKLIST, "Secret", check=False, to_hub=STAGES) == "Secret"
    assert one(FieldType.STRING, "x" * 40_000, check=False) == "x" * 40_000
    for kind, text in [(FieldType.NUMBER, "many"), (FieldType.DATE, "soon"), (FieldType.JSON, "{")]:
        assert isinstance(one(kind, text, check=False), Invalid)
    for text in ("a\0b", "a\ud800b"):
        assert isinstance(one(FieldType.STRING, text, check=False), Invalid)


def test_a_column_may_be_an_arrow_array():
    column = pa.array([" a ", None, ""])
    assert to_hub(spec(FieldType.STRING), column) == ["a", None, None]
    assert to_hub(spec(FieldType.STRING), pa.chunked_array([column, column])) == ["a", None, None] * 2


def test_more_values_than_are_remembered_are_worked_on_all_the_same():
    column = [f" {i} " for i in range(REMEMBERED + 10)] * 2
    assert to_hub(spec(FieldType.STRING), column) == [text.strip() for text in column]


def test_the_value_is_not_in_the_error():
    secret = "Geheimnis"
    for kind in FieldType:
        for text in (secret, f"{secret}\0", f"{secret}@", f"{secret}@{secret}", f'"{secret}', f"[{secret}]"):
            result = one(kind, text, to_hub={})
            assert not isinstance(result, Invalid) or secret.lower() not in repr(result).lower()


# Laws. Text is drawn so that it often is, or nearly is, what the field wants.

SHAPES = {
    FieldType.EMAIL: r"[A-Za-z0-9._+ß-]{1,6}@([a-zA-Z0-9ü-]{1,4}\.){1,3}[a-zA-Z]{1,5}",
    FieldType.PHONE: r"\+?[0-9(). -]{5,16}( ?(x|ext|;ext=)[0-9]{1,4})?",
    FieldType.URL: r"(https?://|HTTP://)?([A-Za-z0-9ßİ_-]{1,5}\.?){1,3}(:[0-9]{1,6})?(/[A-Za-z0-9?#/ ]{0,5})?",
    FieldType.DATE: r"[0-9]{4}-[01][0-9]-[0-3][0-9]([T ][0-9]{2}:[0-9]{2}(Z|[+-][01][0-9]:?00)?)?",
    FieldType.DATETIME: r"[0-9]{4}-0[1-9]-[012][0-9][T ][0-2][0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,7})?)?(Z|[+-][01][0-9]:?00)?|-?[0-9]{9,15}",
    FieldType.NUMBER: r"[+-]?[0-9]{0,5}\.?[0-9]{0,5}([eE][+-]?[0-9]{1,4})?",
    FieldType.BOOLEAN: r"true|TRUE|f|No|0",
    FieldType.MULTIPICKLIST: r"[ab; ]{0,6}",
}


@st.composite
def typed_text(draw):
    kind = draw(st.sampled_from(FieldType))
    shaped = [st.from_regex(SHAPES[kind], fullmatch=True)] if kind in SHAPES else []
    if kind is FieldType.JSON:
        leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
        tree = st.recursive(
            leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6
        )
        shaped.append(tree.map(json.dumps))
    anything = st.text(st.characters(exclude_categories=())) | st.text("0123456789+-.@:;/ eE\0\r\n")
    return kind, draw(st.one_of(*shaped, anything))


@given(typed_text())
@example((FieldType.EMAIL, "İ@İ.com"))
@example((FieldType.URL, "İ.com"))
@example((FieldType.STRING, "\u2000\u0344"))
def test_to_hub_is_total_and_idempotent(typed):
    kind, text = typed
    once = one(kind, text)
    if isinstance(once, str):
        assert once
        assert one(kind, once) == once
        once.encode()
    raw = one(kind, text, check=False)
    assert kind not in TEXT_TYPES or not isinstance(raw, Invalid) or "\0" in text or not encodable(text)
    if not isinstance(once, Invalid):
        assert raw == once


def encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@given(typed_text())
def test_what_was_taken_comes_back_from_what_is_sent(typed):
    kind, text = typed
    ours = one(kind, text)
    if not isinstance(ours, Invalid):
        (sent,) = to_crm(spec(kind), [ours])
        assert not isinstance(sent, Invalid)
        assert one(kind, sent) == ours


@given(
    st.dictionaries(st.text("abc ", min_size=1), st.text("xyz", min_size=1)).filter(
        lambda m: len(set(m.values())) == len(m) == len({k.strip() for k in m} - {""})
    ),
    st.data(),
)
def test_inverse_picklist_maps_are_inverse(mapping, data):
    back = {ours: theirs for theirs, ours in mapping.items()}
    for kind in (FieldType.PICKLIST, FieldType.MULTIPICKLIST):
        field = spec(kind, to_hub=mapping, to_crm=back)
        chosen = (
            data.draw(
                st.sets(st.sampled_from(sorted(back)), max_size=1 if kind is FieldType.PICKLIST else None)
            )
            if back
            else set()
        )
        ours = ";".join(sorted(chosen)) or None
        assert to_hub(field, to_crm(field, [ours])) == [ours]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4), st.integers(0, 4))
def test_rounding_moves_a_number_by_at_most_half_a_step(value, scale):
    (sent,) = to_crm(spec(FieldType.NUMBER, scale=scale), [str(value)])
    assert abs(Decimal(sent) - value) <= Decimal(1).scaleb(-scale) / 2
    assert to_crm(spec(FieldType.NUMBER, scale=scale), [sent]) == [sent]


@given(st.from_regex(r"[a-z0-9._+-]{1,70}@([a-z0-9-]{1,66}\.){1,4}[a-z]{1,64}", fullmatch=True))
@example("a@b.c")
@example("a@ex.alt")
@example("a@xn--mnchen-3ya.de")
def test_the_short_cut_for_e_mail_gives_the_full_answer(text):
    def outcome(check):
        try:
            return check(text)
        except values.Unfit:
            return None

    assert outcome(addresses.email) == outcome(addresses._full_email)


def test_picklist_without_a_map_is_unchanged_by_replace():
    field = spec(FieldType.PICKLIST, to_hub=STAGES)
    assert to_hub(replace(field, to_hub=None), ["Anything"]) == ["Anything"]
