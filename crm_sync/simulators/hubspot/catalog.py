"""HubSpot's own object types and properties, as a portal has them on its first day, and the demo portal's custom ones.

Here: data. Names, types and read-only marks follow HubSpot's property reference; it is a selection, not all of the
several hundred properties a real portal has. The property that carries the product's own id is deliberately absent.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from crm_sync.simulators.hubspot import tables
from crm_sync.simulators.hubspot.schema import Group, Kind, Option, Property

CURRENCIES: Final = {"USD": "1", "EUR": "1.1", "GBP": "1.25", "JPY": "0.0067", "CHF": "1.15", "SEK": "0.095"}
"""Currencies of the portal and what one unit is worth in its home currency (USD)."""

LIFECYCLE: Final = (
    "subscriber",
    "lead",
    "marketingqualifiedlead",
    "salesqualifiedlead",
    "opportunity",
    "customer",
    "evangelist",
    "other",
)
DEAL_STAGES: Final = (
    ("appointmentscheduled", "Appointment Scheduled", "0.2"),
    ("qualifiedtobuy", "Qualified To Buy", "0.4"),
    ("presentationscheduled", "Presentation Scheduled", "0.6"),
    ("decisionmakerboughtin", "Decision Maker Bought-In", "0.8"),
    ("contractsent", "Contract Sent", "0.9"),
    ("closedwon", "Closed Won", "1.0"),
    ("closedlost", "Closed Lost", "0.0"),
)
TICKET_STAGES: Final = (("1", "New"), ("2", "Waiting on contact"), ("3", "Waiting on us"), ("4", "Closed"))
INDUSTRIES: Final = (
    "ACCOUNTING", "AUTOMOTIVE", "BANKING", "COMPUTER_SOFTWARE", "CONSTRUCTION", "EDUCATION_MANAGEMENT", "FARMING",
    "FINANCIAL_SERVICES", "HOSPITAL_HEALTH_CARE", "INFORMATION_TECHNOLOGY_AND_SERVICES", "INSURANCE", "LAW_PRACTICE",
    "LOGISTICS_AND_SUPPLY_CHAIN", "MACHINERY", "MANAGEMENT_CONSULTING", "MEDIA_PRODUCTION", "OIL_ENERGY", "REAL_ESTATE",
    "RETAIL", "TELECOMMUNICATIONS", "TRANSPORTATION_TRUCKING_RAILROAD",
)  # fmt: skip
_LEAD_STATUS = (
    "NEW",
    "OPEN",
    "IN_PROGRESS",
    "OPEN_DEAL",
    "UNQUALIFIED",
    "ATTEMPTED_TO_CONTACT",
    "CONNECTED",
    "BAD_TIMING",
)

_LISTS = {
    "lead_status": " ".join(_LEAD_STATUS),
    "lifecycle": " ".join(LIFECYCLE),
    "industries": " ".join(INDUSTRIES),
    "currencies": " ".join(CURRENCIES),
}


def kinds() -> list[Kind]:
    """Fresh definitions of every standard object type, custom properties of the demo portal included."""
    return [
        _kind("contacts", "contact", "0-1", tables.CONTACTS + tables.CUSTOM_CONTACTS, ("email", "firstname", "lastname"),
              searchable=("firstname", "lastname", "email", "phone", "hs_additional_emails", "fax", "mobilephone", "company"),
              modified="lastmodifieddate", one_of=("email", "firstname", "lastname"), computed=_contact_values()),
        _kind("companies", "company", "0-2", tables.COMPANIES, ("domain", "name"),
              searchable=("name", "phone", "website", "domain"), one_of=("name", "domain")),
        _kind("deals", "deal", "0-3", tables.DEALS, ("amount", "closedate", "dealname", "dealstage", "pipeline"),
              searchable=("dealname", "pipeline", "dealstage", "description", "dealtype"), required=("dealname", "dealstage"),
              computed=_deal_values()),
        _kind("tickets", "ticket", "0-5", tables.TICKETS,
              ("content", "hs_pipeline", "hs_pipeline_stage", "hs_ticket_category", "hs_ticket_priority", "subject"),
              searchable=("subject", "content", "hs_pipeline_stage"), required=("subject", "hs_pipeline_stage"), scope="tickets"),
        _kind("leads", "lead", "0-136", tables.LEADS, ("hs_lead_name", "hs_lead_type"), searchable=("hs_lead_name",),
              created="hs_createdate", required=("hs_lead_name",)),
        _kind("products", "product", "0-7", tables.PRODUCTS, ("description", "name", "price"),
              searchable=("name", "description", "price", "hs_sku"), scope="e-commerce"),
        _kind("line_items", "line_item", "0-8", tables.LINE_ITEMS, ("hs_product_id", "quantity"),
              searchable=("name", "description", "hs_sku"), scope="e-commerce",
              computed={"amount": _line_amount}),
        _activity("notes", "note", "0-46", tables.NOTES, "hs_note_body"),
        _activity("tasks", "task", "0-27", tables.TASKS, "hs_task_body", "hs_task_subject"),
        _activity("calls", "call", "0-48", tables.CALLS, "hs_call_body", "hs_call_title"),
        _activity("meetings", "meeting_event", "0-47", tables.MEETINGS, "hs_meeting_body", "hs_meeting_title"),
        _activity("emails", "email", "0-49", tables.EMAILS, "hs_email_html", "hs_email_subject"),
    ]  # fmt: skip


def properties(text: str, group: str) -> list[Property]:
    """Definitions from a table of lines (see tables.py)."""
    made = []
    for line in filter(None, text.format(**_LISTS).splitlines()):
        name, label, kind, field_type, flags, options = (*line.split("|"), "", "")[:6]
        made.append(
            Property(
                name=name,
                label=label,
                type=kind,
                field_type=field_type,
                group=group,
                options=[Option(value, _label(value), order) for order, value in enumerate(options.split())],
                standard="p" not in flags,
                read_only="r" in flags or "c" in flags,
                calculated="c" in flags,
                hidden="h" in flags,
                external="OWNER" if "o" in flags else None,
                form_field="r" not in flags and "c" not in flags,
            )
        )
    return made


def _kind(
    name: str,
    singular: str,
    type_id: str,
    table: str,
    shown: tuple[str, ...],
    *,
    searchable: tuple[str, ...],
    modified: str = "hs_lastmodifieddate",
    created: str = "createdate",
    scope: str = "",
    one_of: tuple[str, ...] = (),
    required: tuple[str, ...] = (),
    computed: dict[str, Callable[[dict[str, str]], str | None]] | None = None,
    activity: bool = False,
) -> Kind:
    kind = Kind(
        name=name,
        singular=singular,
        type_id=type_id,
        modified=modified,
        created=created,
        defaults=tuple(sorted((*shown, created, modified, "hs_object_id"))),
        searchable=searchable,
        scope=scope or f"crm.objects.{name}",
        one_of=one_of,
        required=required,
        computed=computed or {},
        activity=activity,
    )
    group = f"{singular}information"
    kind.groups[group] = Group(group, f"{singular.capitalize()} information", 0)
    kind.add(properties(table + tables.COMMON, group))
    if name == "deals":
        kind.properties["dealstage"].options = [
            Option(v, label, n) for n, (v, label, _) in enumerate(DEAL_STAGES)
        ]
        kind.properties["pipeline"].options = [Option("default", "Sales Pipeline", 0)]
    elif name == "tickets":
        kind.properties["hs_pipeline_stage"].options = [
            Option(v, label, n) for n, (v, label) in enumerate(TICKET_STAGES)
        ]
        kind.properties["hs_pipeline"].options = [Option("0", "Support Pipeline", 0)]
    return kind


def _activity(name: str, singular: str, type_id: str, table: str, *searchable: str) -> Kind:
    return _kind(
        name, singular, type_id, table + tables.ACTIVITY, (), searchable=searchable, created="hs_createdate",
        scope="crm.objects.contacts", required=("hs_timestamp",), activity=True,
    )  # fmt: skip


def _label(value: str) -> str:
    return (
        value.replace("_", " ").capitalize()
        if value.isupper() and len(value) > 3
        else value[:1].upper() + value[1:]
    )


def _contact_values() -> dict[str, Callable[[dict[str, str]], str | None]]:
    return {
        "hs_full_name_or_email": lambda v: (
            " ".join(filter(None, (v.get("firstname"), v.get("lastname")))) or v.get("email")
        ),
        "hs_email_domain": lambda v: v["email"].rpartition("@")[2] if v.get("email") else None,
        "hs_searchable_calculated_phone_number": lambda v: _national(v.get("phone")),
        "hs_searchable_calculated_mobile_number": lambda v: _national(v.get("mobilephone")),
    }


def _deal_values() -> dict[str, Callable[[dict[str, str]], str | None]]:
    probability = {value: likely for value, _, likely in DEAL_STAGES}
    return {
        "amount_in_home_currency": _home_amount,
        "hs_is_closed": lambda v: "true" if v.get("dealstage") in {"closedwon", "closedlost"} else "false",
        "hs_is_closed_won": lambda v: "true" if v.get("dealstage") == "closedwon" else "false",
        "hs_deal_stage_probability": lambda v: probability.get(v.get("dealstage", "")),
    }


def _national(phone: str | None) -> str | None:
    """Digits without the country code, as far as a simulator needs it (+1, +44, +49)."""
    if not phone:
        return None
    digits = re.sub(r"\(0\)|\D", "", phone)
    if phone.lstrip().startswith("+"):
        digits = re.sub(r"^(1|44|49)", "", digits)
    return digits


def _home_amount(values: dict[str, str]) -> str | None:
    if not values.get("amount"):
        return None
    rate = float(CURRENCIES.get(values.get("deal_currency_code", "USD"), "1"))
    return f"{float(values['amount']) * rate:.12g}"


def _line_amount(values: dict[str, str]) -> str | None:
    if not values.get("price"):
        return None
    return f"{float(values['price']) * float(values.get('quantity') or 1) - float(values.get('discount') or 0):.12g}"


def custom_kind(type_id: str, name: str, document: dict[str, Any], now: int) -> Kind:
    """An object type of the portal's own, from the body of the request that makes it."""
    base = "hs_createdate|Object create date|datetime|date|r\nhs_lastmodifieddate|Object last modified date|datetime|date|r\n"
    kind = _kind(
        name, name, type_id, base, tuple(document.get("requiredProperties") or ()),
        searchable=tuple(document.get("searchableProperties") or ()), created="hs_createdate", scope="crm.objects.custom",
        required=tuple(document.get("requiredProperties") or ()),
    )  # fmt: skip
    kind.custom = {
        "labels": document["labels"],
        "primaryDisplayProperty": document.get("primaryDisplayProperty"),
        "created": now,
        "updated": now,
    }
    return kind
