"""What a connection file means once it is read: plain values that every layer below understands.

Here belong the words of the glossary as types: connection, stream, entity, field, policy, direction. The YAML
models that produce them are in `mapping/`; how a value is normalised is in `core/normalise.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from crm_sync.core.deletes import Deletes
from crm_sync.core.guard import Guard
from crm_sync.core.quota import Limits


def template_fields(template: str) -> tuple[str, ...]:
    """Names in braces in a template, in order; nothing but plain names is understood (no format codes)."""
    return tuple(re.findall(r"{(\w+)}", template))


class FieldType(StrEnum):
    """Type of a field, the same on both sides; the hub column's Postgres type follows from it."""

    STRING = "string"
    EMAIL = "email"
    PHONE = "phone"
    URL = "url"
    DATE = "date"
    DATETIME = "datetime"
    NUMBER = "number"
    BOOLEAN = "boolean"
    PICKLIST = "picklist"
    MULTIPICKLIST = "multipicklist"
    JSON = "json"
    ID = "id"
    REFERENCE = "reference"


class Direction(StrEnum):
    """Which way values flow. Inbound: the CRM is the authority. Outbound: the hub is."""

    TWO_WAY = "two_way"
    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Policy(StrEnum):
    """How a dispute ends."""

    MOST_RECENT_WINS = "most_recent_wins"
    HUB_WINS = "hub_wins"
    CRM_WINS = "crm_wins"
    PREFER_CRM_UNLESS_BLANK = "prefer_crm_unless_blank"
    MANUAL = "manual"


class Operator(StrEnum):
    """Comparison of a filter condition, translated by each connector into its vendor's query language."""

    EQ = "eq"
    NEQ = "neq"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    IN = "in"
    NOT_IN = "not_in"
    IS_BLANK = "is_blank"
    IS_NOT_BLANK = "is_not_blank"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on a vendor field; all conditions of a filter must hold. `values` has one value for the
    comparing operators, several for in / not_in, none for the blank tests."""

    vendor: str
    operator: Operator
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VendorField:
    """A field as the vendor names it, with our type. `association` names the associated object type when the
    value is not a property of the record but an association (HubSpot); then `name` is `association:<type>`.
    `template` is set for a value that is computed from several vendor fields, `"{FirstName} {LastName}"`: then
    `name` is `computed:<our field>`, only the fields it mentions are asked for, and the field is inbound.
    """

    name: str
    type: FieldType
    association: str | None = None
    template: str | None = None


@dataclass(frozen=True, slots=True)
class Rival:
    """What another connection's mapping says of the same hub column. place: position of its file among all."""

    place: int
    direction: Direction
    policy: Policy


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One mapped field of a stream.

    name: our column. vendor: the vendor's field. to_crm / to_hub: picklist maps (None: values pass unchanged;
    a value missing from a map is invalid). entity: the referenced entity, for type reference.
    computed: a template over *our* columns, `"{first_name} {last_name}"`; such a field has no hub column, is
    outbound, and its value is pushed to `vendor`. scale: digits after the point that the vendor keeps (number).
    place: position of the connection's file among all. rivals: the other connections that map the same column and
    take values from their CRM, by name.
    """

    name: str
    vendor: VendorField
    direction: Direction = Direction.TWO_WAY
    policy: Policy = Policy.MOST_RECENT_WINS
    to_crm: Mapping[str, str] | None = None
    to_hub: Mapping[str, str] | None = None
    entity: str | None = None
    computed: str | None = None
    region: str = "US"
    scale: int | None = None
    required: bool = False
    place: int = 0
    rivals: Mapping[str, Rival] = field(default_factory=dict)

    @property
    def type(self) -> FieldType:
        return self.vendor.type

    @property
    def masters(self) -> frozenset[str]:
        """Connections whose inbound values an inbound field of this one does not replace: their files come first."""
        return frozenset(
            name
            for name, rival in self.rivals.items()
            if rival.direction is Direction.INBOUND and rival.place < self.place
        )


@dataclass(frozen=True, slots=True)
class Similar:
    """The rule for records that are alike but not the same by an exact rule (`core.match`). compare: what is compared,
    one field or several as one text, with its points. From link_above on (0 to 1) records are linked, from review_above
    on a person decides."""

    compare: tuple[tuple[tuple[str, ...], float], ...]
    link_above: float
    review_above: float

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field that is compared, once, in order."""
        return tuple(dict.fromkeys(name for names, _ in self.compare for name in names))


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One entity of one connection: everything the engine needs to know about it.

    object: the vendor's object. match: rules in order; each is a tuple of our fields that together identify a
    record; similar: the rule for what none of them finds. external_id: the vendor field that holds the hub id (None: the vendor has none). constants: vendor
    fields that get a fixed value on create. record_type: developer name of the record type, filters reads and is
    set on create. order: position in the topological order of entities (referenced entities first). guard: how much
    one run may blank, delete or change. deletes: what follows when one side deletes a record.
    """

    connection: str
    kind: str
    entity: str
    object: str
    fields: tuple[FieldSpec, ...]
    direction: Direction = Direction.TWO_WAY
    match: tuple[tuple[str, ...], ...] = ()
    similar: Similar | None = None
    filters: tuple[Condition, ...] = ()
    external_id: str | None = None
    constants: Mapping[str, str] = field(default_factory=dict)
    record_type: str | None = None
    order: int = 0
    guard: Guard = field(default_factory=Guard)
    deletes: Deletes = field(default_factory=Deletes)
    approval: frozenset[str] = frozenset()  # where writes wait for an approved plan: "hub", "crm"

    @property
    def name(self) -> str:
        return f"{self.connection}/{self.entity}"

    @property
    def columns(self) -> tuple[FieldSpec, ...]:
        """The fields that have a hub column: all but the computed ones."""
        return tuple(spec for spec in self.fields if spec.computed is None)

    @property
    def vendor_fields(self) -> dict[str, VendorField]:
        """Every vendor field to ask for when reading, by name; what templates mention has type string."""
        found = {spec.vendor.name: spec.vendor for spec in self.fields if spec.vendor.template is None}
        for spec in self.fields:
            for name in template_fields(spec.vendor.template or ""):
                found.setdefault(name, VendorField(name, FieldType.STRING))
        return found

    def read_from(self, name: str) -> tuple[str, ...]:
        """The vendor fields from which the field called `name` is read; none for an association."""
        vendor = self.field(name).vendor
        if vendor.association is not None:
            return ()
        return (vendor.name,) if vendor.template is None else tuple(template_fields(vendor.template))

    def field(self, name: str) -> FieldSpec:
        """The field called `name`; KeyError if the stream does not map it."""
        for spec in self.fields:
            if spec.name == name:
                return spec
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class AutoResolve:
    """Conflicts that have waited so long end by this policy, which is not `manual`."""

    after: timedelta
    policy: Policy


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """One account of a CRM. `options` are the kind's own settings (hosts, API version, auth) as checked by the
    mapping models; secrets in it are still references to environment variables (`SecretRef`). `lines`: on which line
    of the file an option stands, by its dotted path."""

    name: str
    kind: str
    options: Mapping[str, object]
    streams: tuple[StreamSpec, ...]
    file: str
    schedule: str = "*/5 * * * *"
    auto_resolve: AutoResolve | None = None
    limits: Limits = field(default_factory=Limits)
    lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SecretRef:
    """The name of an environment variable that holds a secret; the value is read when a connector is built."""

    env: str


@dataclass(frozen=True, slots=True)
class System:
    """All connections together, and the entities they share, referenced entities first."""

    connections: tuple[ConnectionSpec, ...]
    entities: tuple[str, ...]

    @property
    def streams(self) -> tuple[StreamSpec, ...]:
        return tuple(stream for connection in self.connections for stream in connection.streams)

    def of_entity(self, entity: str) -> tuple[StreamSpec, ...]:
        return tuple(stream for stream in self.streams if stream.entity == entity)

    def stream(self, connection: str, entity: str) -> StreamSpec:
        """The stream; KeyError if there is none."""
        for stream in self.streams:
            if stream.connection == connection and stream.entity == entity:
                return stream
        raise KeyError(f"{connection}/{entity}")

    def connection(self, name: str) -> ConnectionSpec:
        """The connection; KeyError if there is none."""
        for connection in self.connections:
            if connection.name == name:
                return connection
        raise KeyError(name)

    def hub_fields(self, entity: str) -> dict[str, FieldSpec]:
        """Columns of the hub table of `entity`: the union over all connections, in order of first mention."""
        found: dict[str, FieldSpec] = {}
        for stream in self.of_entity(entity):
            for spec in stream.columns:
                found.setdefault(spec.name, spec)
        return found
