"""The short cut for phone numbers gives what libphonenumber gives, for every country."""

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crm_sync.core.phone import parsed, phone
from crm_sync.core.values import Unfit

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


def outcome(read, text, region):
    try:
        return read(text, region)
    except Unfit:
        return None


def spellings(number):
    for form in (
        phonenumbers.PhoneNumberFormat.E164,
        phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        phonenumbers.PhoneNumberFormat.NATIONAL,
    ):
        yield phonenumbers.format_number(number, form)
    yield str(number.national_number)


@pytest.mark.parametrize("region", REGIONS)
def test_the_examples_of_every_region(region):
    kinds = [
        getattr(phonenumbers.PhoneNumberType, name) for name in ("FIXED_LINE", "MOBILE", "TOLL_FREE", "VOIP")
    ]
    examples = filter(None, (phonenumbers.example_number_for_type(region, kind) for kind in kinds))
    for number in examples:
        for text in spellings(number):
            for home in (region, "US", "DE"):
                assert outcome(phone, text, home) == outcome(parsed, text, home), (text, home)


@settings(max_examples=1500)
@given(st.sampled_from(REGIONS), st.from_regex(r"\+?[0-9]{4,16}", fullmatch=True))
@example("US", "+11234567890")
@example("RU", "89123456789")
@example("BR", "5511987654321")
def test_any_digits(region, text):
    assert outcome(phone, text, region) == outcome(parsed, text, region)


@settings(max_examples=500)
@given(
    st.sampled_from(REGIONS),
    st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)),
    st.from_regex(r"[0-9(). -]{3,15}(;ext=[0-9]{1,8})?", fullmatch=True),
)
def test_any_country_code(region, code, rest):
    text = f"+{code}{rest}"
    assert outcome(phone, text, region) == outcome(parsed, text, region)
