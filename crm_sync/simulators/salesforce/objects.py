"""The objects of the simulated org: the standard ones a sync meets, and this org's custom fields.

Source: Object Reference for the Salesforce Platform (names, types, lengths, required and read-only
flags, relationship names). Fields that no sync looks at are left out.
"""

from collections.abc import Callable
from typing import Any

from crm_sync.simulators.salesforce import more_objects
from crm_sync.simulators.salesforce.fields import (
    INDUSTRIES,
    LEAD_SOURCES,
    RATINGS,
    address,
    area,
    checkbox,
    computed,
    currency_code,
    date,
    email,
    external_id,
    identity,
    integer,
    moment,
    money,
    number,
    owner,
    percent,
    person_name,
    phone,
    pick,
    picks,
    read_only,
    reference,
    seen,
    system,
    text,
    url,
)
from crm_sync.simulators.salesforce.schema import Field, Schema, SObject

STAGES: dict[str, tuple[float, str]] = {
    # stage: (probability, forecast category)
    "Prospecting": (10.0, "Pipeline"),
    "Qualification": (10.0, "Pipeline"),
    "Needs Analysis": (20.0, "Pipeline"),
    "Value Proposition": (50.0, "Pipeline"),
    "Id. Decision Makers": (60.0, "Pipeline"),
    "Perception Analysis": (70.0, "Pipeline"),
    "Proposal/Price Quote": (75.0, "Pipeline"),
    "Negotiation/Review": (90.0, "Pipeline"),
    "Closed Won": (100.0, "Closed"),
    "Closed Lost": (0.0, "Omitted"),
}
INTERESTS = ("Analytics", "Billing", "Integrations", "Mobile", "Security", "Support")
ACCOUNT_TYPES = (
    "Prospect", "Customer - Direct", "Customer - Channel", "Channel Partner / Reseller", "Installation Partner",
    "Technology Partner", "Other",
)  # fmt: skip
Get = Callable[[str], Any]


def build() -> Schema:
    """The org's schema, fresh."""
    objects = (
        _account(), _contact(), _opportunity(), more_objects.lead(), more_objects.task(), more_objects.campaign(), more_objects.campaign_member(), more_objects.user(), more_objects.record_type(),
        more_objects.organization(), more_objects.currency_type(),
    )  # fmt: skip
    return Schema({o.name: o for o in objects})


def _record_type_id() -> Field:
    return reference("RecordTypeId", "Record Type ID", "RecordType", defaulted=True)


def _account() -> SObject:
    fields = [
        *identity(),
        text("Name", "Account Name", 255, nillable=False, name_field=True),
        pick("Type", "Account Type", ACCOUNT_TYPES),
        _record_type_id(),
        reference("ParentId", "Parent Account ID", "Account", child_relationship="ChildAccounts"),
        *address("Billing", "Billing"),
        *address("Shipping", "Shipping"),
        phone("Phone", "Account Phone"),
        phone("Fax", "Account Fax"),
        text("AccountNumber", "Account Number", 40),
        url("Website", "Website"),
        text("Sic", "SIC Code", 20),
        pick("Industry", "Industry", INDUSTRIES, restricted=True),
        money("AnnualRevenue", "Annual Revenue", 0),
        integer("NumberOfEmployees", "Employees"),
        pick("Ownership", "Ownership", ("Public", "Private", "Subsidiary", "Other")),
        text("TickerSymbol", "Ticker Symbol", 20),
        area("Description", "Account Description"),
        pick("Rating", "Account Rating", RATINGS),
        text("Site", "Account Site", 80),
        currency_code(),
        owner(),
        pick("AccountSource", "Account Source", LEAD_SOURCES),
        *system(merge_into="Account"),
        *seen(),
        external_id(),
    ]
    return SObject("Account", "Account", "Accounts", "001", fields, mergeable=True, record_types=True)


def _contact() -> SObject:
    fields = [
        *identity(),
        reference("AccountId", "Account ID", "Account", child_relationship="Contacts", cascade=True),
        *person_name(),
        *address("Mailing", "Mailing"),
        *address("Other", "Other"),
        phone("Phone", "Business Phone"),
        phone("Fax", "Business Fax"),
        phone("MobilePhone", "Mobile Phone"),
        phone("HomePhone", "Home Phone"),
        phone("OtherPhone", "Other Phone"),
        phone("AssistantPhone", "Asst. Phone"),
        reference("ReportsToId", "Reports To ID", "Contact", child_relationship="ReportsToContacts"),
        email(),
        text("Title", "Title", 128),
        text("Department", "Department", 80),
        text("AssistantName", "Assistant's Name", 40),
        pick("LeadSource", "Lead Source", LEAD_SOURCES),
        date("Birthdate", "Birthdate"),
        area("Description", "Contact Description"),
        currency_code(),
        owner(),
        checkbox("HasOptedOutOfEmail", "Email Opt Out"),
        checkbox("HasOptedOutOfFax", "Fax Opt Out"),
        checkbox("DoNotCall", "Do Not Call"),
        read_only("EmailBouncedReason", "Email Bounced Reason", "string", length=255),
        read_only("EmailBouncedDate", "Email Bounced Date", "datetime"),
        computed("IsEmailBounced", "Is Email Bounced", "boolean", lambda get: get("EmailBouncedDate") is not None, nillable=False),
        *system(merge_into="Contact"),
        *seen(),
        external_id(),
        picks("Interests__c", "Interests", INTERESTS),
        moment("Next_Call__c", "Next Call"),
        checkbox("Opted_Out__c", "Opted Out"),
    ]  # fmt: skip
    return SObject("Contact", "Contact", "Contacts", "003", fields, mergeable=True)


def _opportunity() -> SObject:
    def won(get: Get) -> bool:
        return bool(get("StageName") == "Closed Won")

    def closed(get: Get) -> bool:
        return str(get("StageName")).startswith("Closed")

    def category(get: Get) -> str:
        return STAGES.get(get("StageName"), (0.0, "Pipeline"))[1]

    def expected(get: Get) -> float | None:
        if get("Amount") is None:
            return None
        return round(float(get("Amount")) * float(get("Probability") or 0.0) / 100, 2)

    def part_of_date(start: int, end: int) -> Callable[[Get], int | None]:
        return lambda get: int(get("CloseDate")[start:end]) if get("CloseDate") else None

    fields = [
        *identity(),
        reference("AccountId", "Account ID", "Account", child_relationship="Opportunities", cascade=True),
        text("Name", "Name", 120, nillable=False, name_field=True),
        area("Description", "Description"),
        pick("StageName", "Stage", tuple(STAGES), restricted=True, nillable=False),
        money("Amount", "Amount"),
        percent("Probability", "Probability (%)", defaulted=True),
        computed("ExpectedRevenue", "Expected Amount", "currency", expected, precision=18, scale=2),
        number("TotalOpportunityQuantity", "Quantity", 18, 2),
        date("CloseDate", "Close Date", nillable=False),
        pick("Type", "Opportunity Type", ("Existing Business", "New Business")),
        text("NextStep", "Next Step", 255),
        pick("LeadSource", "Lead Source", LEAD_SOURCES),
        computed("IsClosed", "Closed", "boolean", closed, nillable=False),
        computed("IsWon", "Won", "boolean", won, nillable=False),
        computed("ForecastCategory", "Forecast Category", "picklist", category, length=40, nillable=False),
        reference("CampaignId", "Campaign ID", "Campaign", child_relationship="Opportunities"),
        currency_code(),
        owner(),
        reference("ContactId", "Contact ID", "Contact"),
        computed(
            "FiscalQuarter", "Fiscal Quarter", "int", lambda get: (part_of_date(5, 7)(get) or 1) // 4 + 1
        ),
        computed("FiscalYear", "Fiscal Year", "int", part_of_date(0, 4)),
        *system(),
        *seen(),
        external_id(),
    ]
    return SObject("Opportunity", "Opportunity", "Opportunities", "006", fields)
