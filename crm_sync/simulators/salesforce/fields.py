"""Short ways to write down fields of the usual types, with Salesforce's usual lengths."""

from collections.abc import Callable
from typing import Any

from crm_sync.simulators.salesforce.schema import Field

INDUSTRIES = (
    "Agriculture", "Apparel", "Banking", "Biotechnology", "Chemicals", "Communications", "Construction", "Consulting",
    "Education", "Electronics", "Energy", "Engineering", "Entertainment", "Environmental", "Finance", "Food & Beverage",
    "Government", "Healthcare", "Hospitality", "Insurance", "Machinery", "Manufacturing", "Media", "Not For Profit",
    "Recreation", "Retail", "Shipping", "Technology", "Telecommunications", "Transportation", "Utilities", "Other",
)  # fmt: skip
LEAD_SOURCES = (
    "Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other", "Advertisement", "Employee Referral",
    "External Referral", "Partner", "Public Relations", "Seminar - Internal", "Seminar - Partner", "Trade Show",
    "Word of mouth",
)  # fmt: skip
RATINGS = ("Hot", "Warm", "Cold")
CURRENCIES = ("USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD")


def text(name: str, label: str, length: int = 255, **more: Any) -> Field:
    return Field(name, label, "string", length=length, **more)


def area(name: str, label: str, length: int = 32000, **more: Any) -> Field:
    return Field(name, label, "textarea", length=length, **more)


def phone(name: str, label: str) -> Field:
    return Field(name, label, "phone", length=40)


def email(name: str = "Email", label: str = "Email", **more: Any) -> Field:
    return Field(name, label, "email", length=80, **more)


def url(name: str, label: str) -> Field:
    return Field(name, label, "url", length=255)


def checkbox(name: str, label: str, *, default: bool = False, **more: Any) -> Field:
    return Field(name, label, "boolean", nillable=False, defaulted=True, default=default, **more)


def number(name: str, label: str, precision: int = 18, scale: int = 0, **more: Any) -> Field:
    return Field(name, label, "double", precision=precision, scale=scale, **more)


def integer(name: str, label: str, digits: int = 8, **more: Any) -> Field:
    return Field(name, label, "int", precision=digits, **more)


def money(name: str, label: str, scale: int = 2, **more: Any) -> Field:
    return Field(name, label, "currency", precision=18, scale=scale, **more)


def percent(name: str, label: str, **more: Any) -> Field:
    return Field(name, label, "percent", precision=3, scale=0, **more)


def date(name: str, label: str, **more: Any) -> Field:
    return Field(name, label, "date", **more)


def moment(name: str, label: str, **more: Any) -> Field:
    return Field(name, label, "datetime", **more)


def pick(name: str, label: str, values: tuple[str, ...], *, restricted: bool = False, **more: Any) -> Field:
    length = more.pop("length", 255 if restricted else 40)
    return Field(name, label, "picklist", length=length, picklist=values, restricted=restricted, **more)


def picks(name: str, label: str, values: tuple[str, ...]) -> Field:
    return Field(name, label, "multipicklist", length=4099, picklist=values, restricted=True)


def reference(name: str, label: str, *to: str, relationship: str | None = None, **more: Any) -> Field:
    if relationship is None:
        relationship = name.removesuffix("Id")
    return Field(name, label, "reference", length=18, reference_to=to, relationship=relationship, **more)


def read_only(name: str, label: str, kind: str, **more: Any) -> Field:
    return Field(name, label, kind, createable=False, updateable=False, **more)


def computed(name: str, label: str, kind: str, compute: Callable[[Any], Any], **more: Any) -> Field:
    """A value that follows from the record's own stored fields (``compute`` is given a getter by name)."""
    return Field(name, label, kind, createable=False, updateable=False, compute=compute, **more)


def currency_code() -> Field:
    return pick(
        "CurrencyIsoCode",
        "Currency ISO Code",
        CURRENCIES,
        restricted=True,
        length=3,
        defaulted=True,
        default="USD",
    )


def external_id() -> Field:
    """Where the sync keeps the hub's id: unique, in any letter case."""
    return text("crm_sync_id__c", "crm_sync id", 36, external_id=True, unique=True)


def address(prefix: str, label: str) -> list[Field]:
    """The parts of an address, and the compound field over them. ``prefix`` is "Mailing", "" ..."""
    whole = f"{prefix}Address"
    names = ("Street", "City", "State", "PostalCode", "Country", "Latitude", "Longitude", "GeocodeAccuracy")

    def compute(get: Callable[[str], Any]) -> dict[str, Any] | None:
        parts = {name: get(prefix + name) for name in names}
        if all(value is None for value in parts.values()):
            return None
        return {
            "city": parts["City"],
            "country": parts["Country"],
            "geocodeAccuracy": parts["GeocodeAccuracy"],
            "latitude": parts["Latitude"],
            "longitude": parts["Longitude"],
            "postalCode": parts["PostalCode"],
            "state": parts["State"],
            "street": parts["Street"],
        }

    return [
        Field(f"{prefix}Street", f"{label} Street", "textarea", length=255, compound=whole),
        text(f"{prefix}City", f"{label} City", 40, compound=whole),
        text(f"{prefix}State", f"{label} State/Province", 80, compound=whole),
        text(f"{prefix}PostalCode", f"{label} Zip/Postal Code", 20, compound=whole),
        text(f"{prefix}Country", f"{label} Country", 80, compound=whole),
        number(f"{prefix}Latitude", f"{label} Latitude", 18, 15, compound=whole),
        number(f"{prefix}Longitude", f"{label} Longitude", 18, 15, compound=whole),
        pick(
            f"{prefix}GeocodeAccuracy", f"{label} Geocode Accuracy",
            ("Address", "NearAddress", "Block", "Street", "ExtendedZip", "Zip", "Neighborhood", "City", "County", "State", "Unknown"),
            restricted=True, compound=whole, length=40,
        ),
        computed(whole, f"{label} Address", "address", compute),
    ]  # fmt: skip


def person_name() -> list[Field]:
    """Salutation, first and last name, and the calculated full name (never writable)."""

    def compute(get: Callable[[str], Any]) -> str | None:
        return " ".join(part for part in (get("FirstName"), get("LastName")) if part) or None

    return [
        text("LastName", "Last Name", 80, nillable=False, compound="Name"),
        text("FirstName", "First Name", 40, compound="Name"),
        pick("Salutation", "Salutation", ("Mr.", "Ms.", "Mrs.", "Dr.", "Prof."), compound="Name"),
        computed("Name", "Full Name", "string", compute, length=121, nillable=False, name_field=True),
    ]


def system(*, merge_into: str | None = None) -> list[Field]:
    """Who and when: on every object, never writable."""
    fields = [
        read_only("CreatedDate", "Created Date", "datetime", nillable=False, defaulted=True),
        Field(
            "CreatedById", "Created By ID", "reference", length=18, nillable=False, defaulted=True, createable=False,
            updateable=False, reference_to=("User",), relationship="CreatedBy",
        ),
        read_only("LastModifiedDate", "Last Modified Date", "datetime", nillable=False, defaulted=True),
        Field(
            "LastModifiedById", "Last Modified By ID", "reference", length=18, nillable=False, defaulted=True,
            createable=False, updateable=False, reference_to=("User",), relationship="LastModifiedBy",
        ),
        read_only("SystemModstamp", "System Modstamp", "datetime", nillable=False, defaulted=True),
    ]  # fmt: skip
    if merge_into is not None:
        fields.append(
            Field(
                "MasterRecordId", "Master Record ID", "reference", length=18, createable=False, updateable=False,
                reference_to=(merge_into,), relationship="MasterRecord",
            )
        )  # fmt: skip
    return fields


def identity() -> list[Field]:
    """Id first (rows rely on it), then the deletion mark."""
    return [
        read_only("Id", "Record ID", "id", length=18, nillable=False, defaulted=True),
        read_only("IsDeleted", "Deleted", "boolean", nillable=False, defaulted=True, default=False),
    ]


def owner() -> Field:
    return reference("OwnerId", "Owner ID", "User", nillable=False, defaulted=True)


def seen() -> list[Field]:
    """When somebody last had to do with the record."""
    return [
        read_only("LastActivityDate", "Last Activity", "date"),
        read_only("LastViewedDate", "Last Viewed Date", "datetime"),
        read_only("LastReferencedDate", "Last Referenced Date", "datetime"),
    ]
