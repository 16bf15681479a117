"""The other objects of the org: leads, activities, campaigns, users, and what describes the org itself."""

from crm_sync.simulators.salesforce.fields import (
    CURRENCIES,
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
    identity,
    integer,
    money,
    number,
    owner,
    person_name,
    phone,
    pick,
    read_only,
    reference,
    seen,
    system,
    text,
    url,
)
from crm_sync.simulators.salesforce.schema import Field, SObject


def lead() -> SObject:
    fields = [
        *identity(),
        *person_name(),
        text("Title", "Title", 128),
        text("Company", "Company", 255, nillable=False),
        *address("", ""),
        phone("Phone", "Phone"),
        phone("MobilePhone", "Mobile Phone"),
        phone("Fax", "Fax"),
        email(),
        url("Website", "Website"),
        area("Description", "Description"),
        pick("LeadSource", "Lead Source", LEAD_SOURCES),
        pick(
            "Status", "Status", ("Open - Not Contacted", "Working - Contacted", "Closed - Converted", "Closed - Not Converted"),
            nillable=False, defaulted=True, default="Open - Not Contacted",
        ),
        pick("Industry", "Industry", INDUSTRIES, restricted=True),
        pick("Rating", "Rating", RATINGS),
        money("AnnualRevenue", "Annual Revenue", 0),
        integer("NumberOfEmployees", "Employees"),
        currency_code(),
        owner(),
        checkbox("HasOptedOutOfEmail", "Email Opt Out"),
        checkbox("DoNotCall", "Do Not Call"),
        checkbox("IsConverted", "Converted", updateable=False, createable=False),
        read_only("ConvertedDate", "Converted Date", "date"),
        _converted("Account"),
        _converted("Contact"),
        _converted("Opportunity"),
        checkbox("IsUnreadByOwner", "Unread By Owner", default=True),
        *system(merge_into="Lead"),
        *seen(),
    ]  # fmt: skip
    return SObject("Lead", "Lead", "Leads", "00Q", fields, mergeable=True)


def _converted(to: str) -> Field:
    return reference(
        f"Converted{to}Id",
        f"Converted {to} ID",
        to,
        relationship=f"Converted{to}",
        createable=False,
        updateable=False,
    )


def task() -> SObject:
    fields = [
        *identity(),
        reference("WhoId", "Name ID", "Contact", "Lead", child_relationship="Tasks"),
        reference("WhatId", "Related To ID", "Account", "Opportunity", "Campaign", child_relationship="Tasks"),
        Field("Subject", "Subject", "combobox", length=255, picklist=("Call", "Send Letter", "Send Quote", "Other"), name_field=True),
        date("ActivityDate", "Due Date Only"),
        pick(
            "Status", "Status", ("Not Started", "In Progress", "Completed", "Waiting on someone else", "Deferred"),
            nillable=False, defaulted=True, default="Not Started",
        ),
        pick("Priority", "Priority", ("High", "Normal", "Low"), nillable=False, defaulted=True, default="Normal"),
        computed("IsHighPriority", "High Priority", "boolean", lambda get: get("Priority") == "High", nillable=False),
        owner(),
        area("Description", "Description"),
        currency_code(),
        computed("IsClosed", "Closed", "boolean", lambda get: get("Status") == "Completed", nillable=False),
        pick("TaskSubtype", "Task Subtype", ("Task", "Email", "Call", "ListEmail", "LinkedIn", "Cadence"), restricted=True, updateable=False, defaulted=True, default="Task"),
        integer("CallDurationInSeconds", "Call Duration"),
        pick("CallType", "Call Type", ("Internal", "Inbound", "Outbound")),
        text("CallDisposition", "Call Result", 255),
        read_only("AccountId", "Account ID", "reference", length=18, reference_to=("Account",), relationship="Account"),
        *system(),
    ]  # fmt: skip
    return SObject("Task", "Task", "Tasks", "00T", fields)


def campaign() -> SObject:
    fields = [
        *identity(),
        text("Name", "Name", 80, nillable=False, name_field=True),
        reference("ParentId", "Parent Campaign ID", "Campaign", child_relationship="ChildCampaigns"),
        pick("Type", "Type", ("Conference", "Webinar", "Trade Show", "Email", "Advertisement", "Other")),
        pick(
            "Status",
            "Status",
            ("Planned", "In Progress", "Completed", "Aborted"),
            defaulted=True,
            default="Planned",
        ),
        date("StartDate", "Start Date"),
        date("EndDate", "End Date"),
        money("ExpectedRevenue", "Expected Revenue", 0),
        money("BudgetedCost", "Budgeted Cost", 0),
        money("ActualCost", "Actual Cost", 0),
        number("ExpectedResponse", "Expected Response (%)", 10, 2),
        number("NumberSent", "Num Sent", 18, 0),
        checkbox("IsActive", "Active"),
        area("Description", "Description"),
        currency_code(),
        owner(),
        *system(),
        *seen(),
    ]
    return SObject("Campaign", "Campaign", "Campaigns", "701", fields)


def campaign_member() -> SObject:
    fields = [
        *identity(),
        reference(
            "CampaignId", "Campaign ID", "Campaign", nillable=False, updateable=False,
            child_relationship="CampaignMembers", cascade=True,
        ),
        reference("LeadId", "Lead ID", "Lead", child_relationship="CampaignMembers", cascade=True),
        reference("ContactId", "Contact ID", "Contact", child_relationship="CampaignMembers", cascade=True),
        pick("Status", "Status", ("Sent", "Responded"), defaulted=True, default="Sent"),
        computed("HasResponded", "Responded", "boolean", lambda get: get("Status") == "Responded", nillable=False),
        currency_code(),
        *system(),
    ]  # fmt: skip
    return SObject("CampaignMember", "Campaign Member", "Campaign Members", "00v", fields)


def user() -> SObject:
    fields = [
        *identity(),
        text("Username", "Username", 80, nillable=False),
        *person_name(),
        email(nillable=False),
        text("Alias", "Alias", 8),
        text("Title", "Title", 80),
        checkbox("IsActive", "Active", default=True),
        pick("UserType", "User Type", ("Standard", "AutomatedProcess"), restricted=True, createable=False, updateable=False, defaulted=True, default="Standard"),
        text("TimeZoneSidKey", "Time Zone", 40, defaulted=True, default="GMT"),
        text("LocaleSidKey", "Locale", 40, defaulted=True, default="en_US"),
        text("LanguageLocaleKey", "Language", 40, defaulted=True, default="en_US"),
        text("FederationIdentifier", "SAML Federation ID", 512),
        *system(),
    ]  # fmt: skip
    return SObject("User", "User", "Users", "005", fields, createable=False, deletable=False)


def record_type() -> SObject:
    fields = [
        *identity(),
        text("Name", "Name", 80, nillable=False, name_field=True),
        text("DeveloperName", "Record Type Name", 80, nillable=False),
        text("Description", "Description", 255),
        pick(
            "SobjectType",
            "SObject Type Name",
            ("Account", "Contact", "Opportunity", "Lead"),
            updateable=False,
        ),
        checkbox("IsActive", "Active", default=True),
        *system(),
    ]
    return SObject(
        "RecordType", "Record Type", "Record Types", "012", fields, createable=False, deletable=False
    )


def organization() -> SObject:
    fields = [
        *identity(),
        text("Name", "Name", 80, nillable=False, name_field=True),
        text("OrganizationType", "Edition", 40),
        text("InstanceName", "Instance Name", 5),
        checkbox("IsSandbox", "Is Sandbox"),
        text("DefaultLocaleSidKey", "Locale", 40),
        text("TimeZoneSidKey", "Time Zone", 40),
        text("LanguageLocaleKey", "Language", 40),
        *system(),
    ]
    return SObject(
        "Organization",
        "Organization",
        "Organizations",
        "00D",
        fields,
        createable=False,
        updateable=False,
        deletable=False,
    )


def currency_type() -> SObject:
    fields = [
        *identity(),
        pick(
            "IsoCode",
            "Currency ISO Code",
            CURRENCIES,
            restricted=True,
            length=3,
            nillable=False,
            name_field=True,
        ),
        number("ConversionRate", "Conversion Rate", 18, 6, nillable=False),
        integer("DecimalPlaces", "Decimal Places", 1, nillable=False),
        checkbox("IsActive", "Active", default=True),
        checkbox("IsCorporate", "Corporate Currency"),
        *system(),
    ]
    return SObject(
        "CurrencyType", "Currency Type", "Currency Types", "01L", fields, createable=False, deletable=False
    )
