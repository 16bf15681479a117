"""How Salesforce spells the invented people, companies and deals, and what else the org has in great numbers.

Here: one recipe per object, for seeded.py. Not here: what is there only a few times (seed.py).
"""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from crm_sync.simulators import people, people_columns
from crm_sync.simulators.people_tables import draw, small
from crm_sync.simulators.salesforce.clock import stamp
from crm_sync.simulators.salesforce.fields import LEAD_SOURCES
from crm_sync.simulators.salesforce.objects import STAGES
from crm_sync.simulators.salesforce.rows import Numbers
from crm_sync.simulators.salesforce.seeded import DAY, NUMBER, Recipe, Reference, Spelling, same
from crm_sync.simulators.serve import Options

SIDE: people.Side = "salesforce"
STAGE_NAMES = {
    "prospecting": "Prospecting",
    "qualification": "Qualification",
    "needs_analysis": "Needs Analysis",
    "proposal": "Proposal/Price Quote",
    "negotiation": "Negotiation/Review",
    "closed_won": "Closed Won",
    "closed_lost": "Closed Lost",
}
CITIES = ("Berlin", "London", "Boston", "Tōkyō", "São Paulo")
_INTERESTS = {
    chosen: ";".join(name.capitalize() for name in chosen) or None for chosen in people.CHOICES
}  # fmt: skip
_MEMBER, _TASK = 0x61, 0x62


def accounts(options: Options, record_types: list[str]) -> Recipe:
    return Recipe(
        options.companies,
        lambda number: people.company(_key(number), options.seed, SIDE),
        lambda numbers: people_columns.Companies(_key(numbers), options.seed, SIDE),
        {
            "Name": Spelling("name", _text),
            "Website": Spelling("website", same),
            "Phone": Spelling("phone", same),
            "Industry": Spelling("industry", lambda name: name.title() if name else None),
            "NumberOfEmployees": Spelling("employees", same),
            "AnnualRevenue": Spelling(
                "annual_revenue", lambda sum_: None if sum_ is None else float(round(sum_))
            ),
            "Description": Spelling("description", _text, few=True),
            "CurrencyIsoCode": Spelling("currency", same),
            "RecordTypeId": Spelling("key", lambda key: record_types[key % 5 == 0]),
            "Type": Spelling(
                "key", lambda key: "Customer - Direct" if key % 5 else "Channel Partner / Reseller"
            ),
            "BillingCity": Spelling("key", lambda key: CITIES[key % 5]),
        },
        {},
    )


def contacts(options: Options) -> Recipe:
    return Recipe(
        options.records,
        lambda number: people.person(_key(number), options.seed, SIDE),
        lambda numbers: people_columns.People(_key(numbers), options.seed, SIDE),
        {
            "FirstName": Spelling("first_name", _text, few=True),
            "LastName": Spelling("last_name", same),
            "Email": Spelling("email", same),
            "Phone": Spelling("phone", same),
            "MobilePhone": Spelling("mobile", same),
            "Title": Spelling("title", same),
            "Birthdate": Spelling("birth_date", _day, few=True),
            "Interests__c": Spelling("interests", _INTERESTS.__getitem__, few=True),
            "Opted_Out__c": Spelling("opted_out", same),
            "Description": Spelling("notes", _text, few=True),
            "Next_Call__c": Spelling("next_call_at", _moment, few=True),
            "LeadSource": Spelling(
                "key", lambda key: LEAD_SOURCES[key % len(LEAD_SOURCES)] if key % 4 else None
            ),
        },
        {"AccountId": _company(options)},
    )


def opportunities(options: Options) -> Recipe:
    def amount(sum_: Decimal | None) -> float | None:
        return None if sum_ is None else float(sum_)

    return Recipe(
        options.deals,
        lambda number: people.deal(_key(number), options.seed, SIDE),
        lambda numbers: people_columns.Deals(_key(numbers), options.seed, SIDE),
        {
            "Name": Spelling("name", _text),
            "Amount": Spelling("amount", amount),
            "CurrencyIsoCode": Spelling("currency", same),
            "CloseDate": Spelling("close_date", _day, few=True),
            "StageName": Spelling("stage", STAGE_NAMES.__getitem__, few=True),
            "Probability": Spelling("stage", lambda stage: STAGES[STAGE_NAMES[stage]][0], few=True),
            "Description": Spelling("description", _text, few=True),
        },
        {
            "AccountId": _company(options),
            "ContactId": Reference("003", "person_key", "person_keys", partial(_number, options.records)),
        },
    )


def leads(options: Options) -> Recipe:
    first = 3 * options.records  # keys that no contact has

    def key(number: Any) -> Any:
        return first + 3 * (number - 1)

    return Recipe(
        options.records // 25,
        lambda number: people.person(key(number), options.seed, SIDE),
        lambda numbers: people_columns.People(key(numbers), options.seed, SIDE),
        {
            "FirstName": Spelling("first_name", _text, few=True),
            "LastName": Spelling("last_name", same),
            "Company": Spelling("last_name", lambda name: f"{name} & Partners"),
            "Email": Spelling("email", same),
            "Phone": Spelling("phone", same),
            "Title": Spelling("title", same),
            "Status": Spelling(
                NUMBER, lambda number: ("Working - Contacted", "Open - Not Contacted")[number % 2]
            ),
        },
        {},
    )


def members(options: Options, campaigns: list[str]) -> Recipe:
    """The first contacts, then all leads, in one campaign each."""
    half = options.records // 25
    return Recipe(
        2 * half,
        *_plain(options.seed, _MEMBER, 60),
        {
            "CampaignId": Spelling(NUMBER, lambda number: campaigns[(number - 1) % len(campaigns)]),
            "Status": Spelling(NUMBER, lambda number: "Responded" if (number - 1) % 3 == 0 else "Sent"),
        },
        {
            "ContactId": Reference("003", NUMBER, NUMBER, lambda number: number * (number <= half)),
            "LeadId": Reference("00Q", NUMBER, NUMBER, lambda number: (number - half) * (number > half)),
        },
    )


def tasks(options: Options) -> Recipe:
    return Recipe(
        options.records // 10,
        *_plain(options.seed, _TASK, 300),
        {
            "Subject": Spelling(NUMBER, lambda number: ("Send Letter", "Call", "Send Quote")[number % 3]),
            "Status": Spelling(NUMBER, lambda number: ("Completed", "Not Started")[number % 2]),
            "Priority": Spelling(NUMBER, lambda _: "Normal"),
            "TaskSubtype": Spelling(NUMBER, lambda _: "Task"),
            "ActivityDate": Spelling(NUMBER, lambda number: f"2026-12-{(number - 1) % 28 + 1:02d}"),
        },
        {"WhoId": Reference("003", NUMBER, NUMBER, lambda number: (number - 1) * 7 % options.records + 1)},
    )


class _Plain(NamedTuple):
    modified_seconds_ago: int


class _PlainColumns(NamedTuple):
    ages: Numbers


def _plain(
    seed: int, kind: int, days: int
) -> tuple[Callable[[int], _Plain], Callable[[Numbers], _PlainColumns]]:
    """Records of which only the age is drawn."""
    return (
        lambda number: _Plain(people.draw(seed, kind, number) % (days * DAY)),
        lambda numbers: _PlainColumns(small(draw(seed, kind, numbers), days * DAY)),
    )


def _key(number: Any) -> Any:
    """The key of our ``number``-th record, or an array of them."""
    return 3 * ((number - 1) // 2) + (number - 1) % 2


def _number(count: int, key: Any) -> Any:
    """The inverse; 0 for -1 and for a key that none of the first ``count`` has."""
    number = 2 * (key // 3) + (key % 3 != 0) + 1
    return number * (number <= count)


def _company(options: Options) -> Reference:
    return Reference("001", "company_key", "company_keys", partial(_number, options.companies))


def _text(value: str | None) -> str | None:
    """Blanks around a text are cut off."""
    return (value.strip() or None) if value is not None else None


def _day(value: date | None) -> str | None:
    return None if value is None else value.isoformat()


def _moment(value: datetime | None) -> str | None:
    return None if value is None else stamp(value.timestamp())
