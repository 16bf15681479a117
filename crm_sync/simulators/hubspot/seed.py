"""The portal's first content: the invented people as contacts, companies and deals of HubSpot, with their links.

Here: how neutral values become HubSpot's. Not here: the values (people.py), how records come about when they are read
(seeded.py) and HubSpot's rules (they are kept by construction).
"""

import re
from datetime import date
from decimal import Decimal
from functools import lru_cache

from crm_sync.simulators.hubspot.clock import DAY, iso, milliseconds_of
from crm_sync.simulators.hubspot.records import FIRST_ID, Numbers
from crm_sync.simulators.hubspot.seeded import Parents, Recipe, Seeded, Spelling, place_of
from crm_sync.simulators.hubspot.store import Store
from crm_sync.simulators.people import company, deal, person
from crm_sync.simulators.people_columns import Companies, Deals, People

INDUSTRY = {
    "technology": "COMPUTER_SOFTWARE", "finance": "FINANCIAL_SERVICES", "healthcare": "HOSPITAL_HEALTH_CARE",
    "education": "EDUCATION_MANAGEMENT", "manufacturing": "MACHINERY", "retail": "RETAIL", "energy": "OIL_ENERGY",
    "media": "MEDIA_PRODUCTION", "transportation": "TRANSPORTATION_TRUCKING_RAILROAD", "construction": "CONSTRUCTION",
    "agriculture": "FARMING", "consulting": "MANAGEMENT_CONSULTING",
}  # fmt: skip
STAGE = {
    "prospecting": "appointmentscheduled", "qualification": "qualifiedtobuy", "needs_analysis": "presentationscheduled",
    "proposal": "decisionmakerboughtin", "negotiation": "contractsent", "closed_won": "closedwon", "closed_lost": "closedlost",
}  # fmt: skip
_OWNERS = (
    ("71000101", "avery@portal.example", "Avery", "Stone", 501, False),
    ("71000102", "blair@portal.example", "Blair", "Núñez", 502, False),
    ("71000103", "casey@portal.example", "Casey", "O'Neil", 503, False),
    ("71000104", "gone@portal.example", "Drew", "Gone", 504, True),
)


def fill(store: Store, contacts: int, company_count: int, deal_count: int, seed: int) -> None:
    """Put the portal's records, links and owners in place."""
    now = store.clock.now()
    _fill_owners(store, now)
    for name, recipe in (
        ("companies", _companies(company_count, seed)),
        ("contacts", _contacts(contacts, company_count, seed)),
        ("deals", _deals(deal_count, seed)),
    ):
        seeded = Seeded(store.kinds[name], recipe, now)
        store.tables[name].plant(seeded)
        store.index.plant(name, seeded)
    types = store.links.types
    for source, target, type_, parents in (
        ("contacts", "companies", types[1], Parents(contacts, company_count, lambda keys: _people(keys, seed).company_keys)),
        ("deals", "companies", types[5], Parents(deal_count, company_count, lambda keys: _sales(keys, seed).company_keys)),
        ("deals", "contacts", types[3], Parents(deal_count, contacts, lambda keys: _sales(keys, seed).person_keys)),
    ):  # fmt: skip
        store.links.plant(source, target, type_, parents.parent, parents.children)


def _people(keys: Numbers, seed: int) -> People:
    return People(keys, seed, "hubspot")


def _sales(keys: Numbers, seed: int) -> Deals:
    return Deals(keys, seed, "hubspot")


def _contacts(count: int, companies: int, seed: int) -> Recipe:
    def company(key: int | None) -> str | None:
        place = -1 if key is None else place_of(key)
        return str(place + FIRST_ID) if 0 <= place < companies else None

    def holder(name: str, value: str) -> int | None:
        """An address contains the key of the person it belongs to."""
        found = re.search(r"\.(\d{1,12})@", value) if name == "email" else None
        key = int(found[1]) if found else -1
        place = place_of(key)
        if not 0 <= place < count or key % 3 == 1 or person(key, seed, "hubspot").email.lower() != value:
            return None
        return int(place) + FIRST_ID

    spellings = {
        "email": Spelling("email", str.lower),
        "firstname": Spelling("first_name", _same),
        "lastname": Spelling("last_name", _same),
        "phone": Spelling("phone", _same),
        "mobilephone": Spelling("mobile", _same),
        "jobtitle": Spelling("title", _same),
        "birth_date": Spelling("birth_date", _day),
        "interests": Spelling("interests", ";".join),
        "opted_out": Spelling("opted_out", lambda out: "true" if out else "false"),
        "notes_text": Spelling("notes", _same),
        "next_call_at": Spelling("next_call_at", _moment),
        "lifecyclestage": Spelling("key", lambda _: "lead"),
        "associatedcompanyid": Spelling("company_key", company),
    }
    return Recipe(
        count, lambda key: person(key, seed, "hubspot"), lambda keys: _people(keys, seed), spellings, holder
    )


def _companies(count: int, seed: int) -> Recipe:
    spellings = {
        "name": Spelling("name", _same),
        "domain": Spelling("domain", _same),
        "website": Spelling("website", _same),
        "phone": Spelling("phone", _same),
        "industry": Spelling("industry", lambda name: INDUSTRY[name] if name else None),
        "numberofemployees": Spelling("employees", lambda number: None if number is None else str(number)),
        "annualrevenue": Spelling("annual_revenue", _number),
        "description": Spelling("description", _same),
    }
    return Recipe(
        count,
        lambda key: company(key, seed, "hubspot"),
        lambda keys: Companies(keys, seed, "hubspot"),
        spellings,
    )


def _deals(count: int, seed: int) -> Recipe:
    spellings = {
        "dealname": Spelling("name", _same),
        "pipeline": Spelling("key", lambda _: "default"),
        "dealstage": Spelling("stage", STAGE.__getitem__),
        "amount": Spelling("amount", _number),
        "deal_currency_code": Spelling("currency", _same),
        "closedate": Spelling("close_date", _moment),
        "description": Spelling("description", _same),
    }
    return Recipe(count, lambda key: deal(key, seed, "hubspot"), lambda keys: _sales(keys, seed), spellings)


def _same(value: str | None) -> str | None:
    return value


def _day(value: date | None) -> str | None:
    return None if value is None else value.isoformat()


def _number(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


@lru_cache(maxsize=8192)
def _moment(value: date | None) -> str | None:
    found = None if value is None else milliseconds_of(value.isoformat())
    return None if found is None else iso(found)


def _fill_owners(store: Store, now: int) -> None:
    for number, email, first, last, user, archived in _OWNERS:
        store.owners[number] = {
            "id": number, "email": email, "type": "PERSON", "firstName": first, "lastName": last,
            "userId": None if archived else user, "userIdIncludingInactive": user, "createdAt": iso(now - 500 * DAY),
            "updatedAt": iso(now - 400 * DAY), "archived": archived, "teams": [],
        }  # fmt: skip
