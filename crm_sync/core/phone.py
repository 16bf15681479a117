"""Phone numbers in canonical form: E.164, with `;ext=` where there is an extension (RFC 3966).

libphonenumber decides, and is asked only where it must: most numbers differ from E.164 by punctuation and a
missing country code, which its own tables of lengths and prefixes settle a good deal faster. As in `values.py`: cleaned
text in, canonical text out, `Unfit` for what is no number.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneMetadata

from crm_sync.core.values import Unfit

_PUNCTUATION = str.maketrans("", "", " -().")
_USUAL = re.compile(r"(\+?)([1-9][0-9]{4,14})(;ext=[0-9]{1,7})?")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the tables say about one region's numbers. `lengths` are those of its whole country code."""

    country_code: str
    lengths: frozenset[int]
    prefixes: tuple[re.Pattern[str], ...]  # of numbers that libphonenumber would take apart differently


def phone(text: str, region: str) -> str:
    """E.164. A number without country code is one of `region` (ISO 3166, two letters). Its length must be
    possible in its country, so that it can be dialled from anywhere; whether it is in use is not known."""
    usual = _USUAL.fullmatch(text.translate(_PUNCTUATION))
    if usual is not None:
        international, digits, extension = usual.groups()
        found = _international(digits) if international else _national(digits, region)
        if found is not None:
            return found + (extension or "")
    return parsed(text, region)


def parsed(text: str, region: str) -> str:
    """The same by libphonenumber alone, which understands every spelling, at 50 to 100 µs a number."""
    number = _dialled(text, region)
    found = _e164(number)
    # A number that begins with its country's own trunk prefix would be cut once more whenever it is read.
    if _e164(_dialled(found, region)) != found:
        raise Unfit(f"is not a phone number (region {region})")
    return f"{found};ext={number.extension}" if number.extension else found


def _dialled(text: str, region: str) -> phonenumbers.PhoneNumber:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException as error:
        raise Unfit(f"is not a phone number (region {region})") from error
    possible = phonenumbers.is_possible_number_with_reason(number)
    if possible != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise Unfit(f"is not a phone number that can be dialled from everywhere (region {region})")
    return number


def _e164(number: phonenumbers.PhoneNumber) -> str:
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _international(digits: str) -> str | None:
    """E.164 of digits that followed a plus, or None if only libphonenumber can tell."""
    for size in (1, 2, 3):
        code = int(digits[:size])
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            plan = _plan(phonenumbers.region_code_for_country_code(code), code)
            return _fitting(digits[size:], plan)
    return None


def _national(digits: str, region: str) -> str | None:
    """E.164 of digits as they are dialled inside the region, or None if only libphonenumber can tell."""
    plan = _plan(region, 0)
    if plan is None or digits.startswith(plan.country_code):
        return None
    return _fitting(digits, plan)


def _fitting(digits: str, plan: _Plan | None) -> str | None:
    if plan is None or len(digits) not in plan.lengths or digits[0] == "0":
        return None
    if any(prefix.match(digits) for prefix in plan.prefixes):
        return None
    return f"+{plan.country_code}{digits}"


@lru_cache(maxsize=512)  # there are some 250 regions
def _plan(region: str, code: int) -> _Plan | None:
    """The region's plan; `code` is its country code if the number was written with one, else 0."""
    own = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    if own is None or own.country_code is None:
        return None
    main_region = phonenumbers.region_code_for_country_code(own.country_code)
    main = PhoneMetadata.metadata_for_region_or_calling_code(own.country_code, main_region)
    if main is None or main.general_desc is None:
        return None
    prefixes = (own.national_prefix_for_parsing, None if code else own.international_prefix)
    return _Plan(
        str(own.country_code),
        frozenset(main.general_desc.possible_length),
        tuple(re.compile(prefix) for prefix in prefixes if prefix),
    )
