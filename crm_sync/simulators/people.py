"""Invented people, companies and deals, the same for every simulator that asks with the same seed.

Here: neutral values and how each side spells them. Not here: vendor field names, ids, stamps (each simulator's
``seed`` module maps these records to its own store).

A key belongs to one record everywhere: ``key % 3`` is 0 for a record known to both sides, 1 for one that only
Salesforce knows, 2 for one that only HubSpot knows. Every second record of a side is known to both. Everything is
computed from (seed, kind, key) alone, so a record does not change when more of them are asked for, and references
only ever point to records that exist on the same side, as long as companies and deals are made in the proportions of
``company_count`` and ``deal_count``.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from crm_sync.simulators import vocabulary
from crm_sync.simulators.phones import phone

Side = Literal["salesforce", "hubspot"]

INTERESTS: Final = ("analytics", "billing", "integrations", "mobile", "security", "support")
INDUSTRIES: Final = (
    "technology", "finance", "healthcare", "education", "manufacturing", "retail",
    "energy", "media", "transportation", "construction", "agriculture", "consulting",
)  # fmt: skip
STAGES: Final = (
    "prospecting",
    "qualification",
    "needs_analysis",
    "proposal",
    "negotiation",
    "closed_won",
    "closed_lost",
)
CURRENCIES: Final = ("USD", "EUR", "GBP", "JPY")


class Person(NamedTuple):
    """Somebody. ``next_call_at`` is in UTC; None is a value nobody filled in."""

    key: int
    first_name: str | None
    last_name: str
    email: str
    phone: str | None
    mobile: str | None
    title: str | None
    birth_date: date | None
    interests: tuple[str, ...]
    opted_out: bool
    notes: str | None
    next_call_at: datetime | None
    company_key: int | None
    modified_seconds_ago: int


class Company(NamedTuple):
    """A firm; ``domain`` is unique, lower-case and never empty; ``industry`` is one of INDUSTRIES."""

    key: int
    name: str
    domain: str
    website: str | None
    phone: str | None
    industry: str | None
    employees: int | None
    annual_revenue: Decimal | None
    description: str | None
    currency: str
    modified_seconds_ago: int


class Deal(NamedTuple):
    """A sale; ``stage`` is one of STAGES, ``amount`` is in ``currency`` (whole numbers in JPY)."""

    key: int
    name: str
    amount: Decimal | None
    currency: str
    close_date: date
    stage: str
    company_key: int | None
    person_key: int | None
    description: str | None
    modified_seconds_ago: int


_SHARED, _SALESFORCE, _HUBSPOT = 0, 1, 2
OWN: Final[dict[Side, int]] = {"salesforce": _SALESFORCE, "hubspot": _HUBSPOT}
PERSON, COMPANY, DEAL = 0x51, 0x52, 0x53
MASK = (1 << 64) - 1
YEAR_AND_A_BIT = 400 * 86_400

FIRST_CALL = datetime(2026, 12, 1, 8, tzinfo=UTC)
BIRTH = date(1950, 1, 1)
CLOSE = date(2026, 1, 1)
CALLS, BIRTH_DAYS, CLOSE_DAYS = 5_000, 19_000, 700
LEAST_CENTS, MOST_CENTS = 10_000, 250_000_000
CHOICES = tuple(tuple(name for bit, name in enumerate(INTERESTS) if mask >> bit & 1) for mask in range(64))


def company_count(people_count: int) -> int:
    """How many companies go with so many people (16 in 100)."""
    return people_count * 16 // 100


def deal_count(people_count: int) -> int:
    """How many deals go with so many people (3 in 10)."""
    return people_count * 3 // 10


def people(count: int, seed: int, side: Side) -> Iterator[Person]:
    """The first ``count`` people of a side, in order of key."""
    for key in _keys(count, side):
        yield person(key, seed, side)


def companies(count: int, seed: int, side: Side) -> Iterator[Company]:
    """The first ``count`` companies of a side, in order of key."""
    for key in _keys(count, side):
        yield company(key, seed, side)


def deals(count: int, seed: int, side: Side) -> Iterator[Deal]:
    """The first ``count`` deals of a side, in order of key."""
    for key in _keys(count, side):
        yield deal(key, seed, side)


def person(key: int, seed: int, side: Side) -> Person:
    """The person of this key as this side writes them."""
    who = draw(seed, PERSON, key)
    how = draw(who, OWN[side], key)
    strange = who % 97 == 0
    first, first_ascii, nickname = vocabulary.FIRST[(who >> 4) % len(vocabulary.FIRST)]
    last, last_ascii = (
        vocabulary.STRANGE_LAST[(who >> 9) % len(vocabulary.STRANGE_LAST)]
        if strange
        else vocabulary.LAST[(who >> 9) % len(vocabulary.LAST)]
    )
    company_key = _company_of_person(key, seed)
    domain = f"mail{who % 7}.example" if company_key is None else _domain(company_key, seed)
    email = f"{first_ascii}.{last_ascii}.{key}@{domain}"
    # A twentieth of the shared people goes by another spelling of the name on one side.
    slip = how % 100
    if slip < 3:
        first = nickname
    elif slip < 5:
        last = last.upper() if not strange else last
    elif slip < 7:
        first = f" {first} "
    if side == "salesforce" and how >> 20 & 3 == 0:
        email = _capitals(first_ascii, last_ascii, key, domain)
    rest = who >> 24
    return Person(
        key=key,
        first_name=first if rest % 50 else None,
        last_name=last,
        email=email,
        phone=phone(who >> 11, how >> 8, mobile=False) if rest % 7 else None,
        mobile=phone(who >> 17, how >> 10, mobile=True) if rest % 5 < 3 else None,
        title=vocabulary.TITLES[rest % 12] if rest % 6 else None,
        birth_date=_birth(rest),
        interests=CHOICES[(who >> 30) & 63] if who >> 40 & 3 else (),
        opted_out=(who >> 36) % 9 == 0,
        notes=vocabulary.NOTES[(who >> 33) % (len(vocabulary.NOTES) - (0 if who >> 50 & 15 == 0 else 1))]
        if who >> 42 & 1
        else None,
        next_call_at=_call(who >> 44) if who >> 43 & 3 == 0 else None,
        company_key=company_key,
        modified_seconds_ago=1 + (how >> 24) % YEAR_AND_A_BIT,
    )


def company(key: int, seed: int, side: Side) -> Company:
    """The company of this key as this side writes it."""
    who = draw(seed, COMPANY, key)
    how = draw(who, OWN[side], key)
    founder, trade = (
        vocabulary.FOUNDERS[(who >> 3) % len(vocabulary.FOUNDERS)],
        vocabulary.TRADES[(who >> 8) % len(vocabulary.TRADES)],
    )
    usual, other = vocabulary.FORMS[(who >> 13) % len(vocabulary.FORMS)]
    domain = _domain(key, seed)
    rest = who >> 16
    currency = CURRENCIES[(who >> 40) % 4]
    return Company(
        key=key,
        name=f"{founder} {trade} {key} {other if how % 25 == 0 else usual}",
        domain=domain,
        website=(f"https://www.{domain}/" if how >> 5 & 1 else f"http://{domain}") if rest % 8 else None,
        phone=phone(who >> 21, how >> 8, mobile=False) if rest % 6 else None,
        industry=INDUSTRIES[rest % 12] if rest % 9 else None,
        employees=1 + (who >> 27) % 20_000 if rest % 5 else None,
        annual_revenue=_amount(who >> 31, currency) if rest % 4 else None,
        description=vocabulary.NOTES[(who >> 37) % (len(vocabulary.NOTES) - 1)] if rest & 1 else None,
        currency=currency,
        modified_seconds_ago=1 + (how >> 24) % YEAR_AND_A_BIT,
    )


def deal(key: int, seed: int, side: Side) -> Deal:
    """The deal of this key as this side writes it."""
    who = draw(seed, DEAL, key)
    how = draw(who, OWN[side], key)
    currency = CURRENCIES[(who >> 6) % 4]
    people_before, own = key // 3 * 10 // 3, key % 3
    person_key = 3 * ((who >> 20) % people_before) + own if people_before and who % 5 else None
    company_key = (
        _pick(key // 3 * 16 // 30, who >> 12, own)
        if person_key is None
        else _company_of_person(person_key, seed)
    )
    stage = (who >> 30) % 7
    if how % 40 == 0:  # one side is a step ahead
        stage = min(stage + 1, 6)
    return Deal(
        key=key,
        name=f"{vocabulary.WHY[(who >> 9) % len(vocabulary.WHY)]} {key}",
        amount=_amount(who >> 26, currency) if (who >> 14) % 10 else None,
        currency=currency,
        close_date=vocabulary.DAYS[(who >> 16) % 8]
        if who >> 19 & 7 == 0
        else CLOSE + timedelta(days=(who >> 22) % CLOSE_DAYS),
        stage=STAGES[stage],
        company_key=company_key,
        person_key=person_key,
        description=vocabulary.NOTES[(who >> 37) % (len(vocabulary.NOTES) - 1)] if who >> 36 & 1 else None,
        modified_seconds_ago=1 + (how >> 24) % YEAR_AND_A_BIT,
    )


def _keys(count: int, side: Side) -> Iterator[int]:
    own = OWN[side]
    return (3 * (i // 2) + (own if i & 1 else _SHARED) for i in range(count))


def draw(seed: int, kind: int, key: int) -> int:
    """64 bits that depend on all three and look random (the finaliser of splitmix64)."""
    x = (seed * 0x9E3779B97F4A7C15 + kind * 0xD1B54A32D192ED03 + key * 0xDA942042E4DD58B5 + 1) & MASK
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
    return x ^ x >> 31


def _pick(before: int, bits: int, own: int) -> int | None:
    """A key among the first ``before`` triples, known to the same side; early ones get picked most (big customers)."""
    return 3 * (bits % before) + own if before > 0 else None


def _company_of_person(key: int, seed: int) -> int | None:
    bits = draw(seed, PERSON ^ 0xFF, key)
    if bits % 6 == 0:
        return None
    return _pick(key // 3 * 16 // 100, bits >> 8, key % 3 if bits & 64 else _SHARED)


def _domain(company_key: int, seed: int) -> str:
    return f"firm{company_key}-{draw(seed, COMPANY, company_key) % 1000:03d}.example"


def _capitals(first: str, last: str, key: int, domain: str) -> str:
    return f"{first.capitalize()}.{last.capitalize()}.{key}@{domain.capitalize()}"


def _birth(bits: int) -> date | None:
    if bits % 3 == 0:
        return None
    return vocabulary.DAYS[0] if bits % 101 == 1 else BIRTH + timedelta(days=bits % BIRTH_DAYS)


def _amount(bits: int, currency: str) -> Decimal:
    return amount_of(LEAST_CENTS + bits % MOST_CENTS, currency == "JPY" or bool(bits & 1024))


def amount_of(cents: int, whole: bool) -> Decimal:
    """A sum of money: in whole units, or with two places."""
    return Decimal(cents // 100) if whole else Decimal(cents).scaleb(-2)


def _call(bits: int) -> datetime:
    if bits & 3 == 0:
        return vocabulary.EDGES[(bits >> 2) % len(vocabulary.EDGES)]
    return FIRST_CALL + timedelta(minutes=15 * ((bits >> 2) % CALLS))
