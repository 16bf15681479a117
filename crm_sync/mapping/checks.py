"""Whether the parts of one connection fit together: what the shape of a file (`models.py`) cannot say.

Here: names, the ways a field may get its value, directions, filters, match rules, references within the file. Pure
functions that yield complaints as (path below the entity, message). What concerns several files is in `resolve.py`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from crm_sync.core.spec import Direction, FieldType, Operator, template_fields
from crm_sync.mapping.explain import nearest
from crm_sync.mapping.models import ConditionModel, ConnectionModel, EntityModel, FieldModel
from crm_sync.mapping.nodes import Path

Complaint = tuple[Path, str]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
MAX_NAME = 40  # of a connection or entity: `<entity>_differences` must stay below Postgres' 63 bytes
MAX_FIELD = 50  # `<field>_agreed`
MAX_PAIR = 55  # `<entity>_match_<field>`
RESERVED_CONNECTIONS = frozenset({"hub", "sync", "review", "dagster", "public", "information_schema"})
RESERVED_FIELDS = frozenset(
    {
        *("id", "created_at", "updated_at", "archived_at"),  # columns of every hub table
        *(
            "crm_id",
            "hub_id",
            "modified_at",
            "deleted",
            "merged_into",
            "outside",
            "lead_converted",
            "seen_at",
        ),  # of every mirror
        *("linked_at", "linked_by", "hub_state", "crm_state"),  # of every base
        *("tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"),  # of every Postgres table
    }
)
_OWN_SUFFIXES = ("_base", "_differences", "_pkey")
_PICKLISTS = (FieldType.PICKLIST, FieldType.MULTIPICKLIST)
_SEVERAL = (Operator.IN, Operator.NOT_IN)
_NONE = (Operator.IS_BLANK, Operator.IS_NOT_BLANK)


def name_problem(name: str, longest: int) -> str | None:
    """Why a name cannot be a name in Postgres that needs no quotes, or None."""
    if not _NAME.fullmatch(name):
        proposal = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        hint = f", for example {proposal}" if _NAME.fullmatch(proposal) and proposal != name else ""
        return f"a name has small letters a-z, digits and _, and begins with a letter{hint}"
    if len(name) > longest:
        return f"the name has {len(name)} characters; at most {longest} fit (Postgres takes 63, with our endings)"
    return None


def connection_name_problem(name: str) -> str | None:
    """Why a connection cannot have this name, or None."""
    if name in RESERVED_CONNECTIONS or name.startswith("pg_"):
        return f"{name} is the name of a schema that is in use already; choose another name"
    return name_problem(name, MAX_NAME)


def field_direction(entity: EntityModel, field: FieldModel) -> Direction:
    """Which way the field's values go in the end."""
    if field.computed is not None:
        return Direction.OUTBOUND
    if field.from_ is not None:
        return Direction.INBOUND
    if entity.direction is not Direction.TWO_WAY:
        return entity.direction
    return field.direction or Direction.TWO_WAY


def entity_complaints(
    kind: type[ConnectionModel], name: str, entity: EntityModel, entities: frozenset[str]
) -> Iterator[Complaint]:
    """What is wrong with one entity. `entities`: all names that the file maps."""
    if problem := name_problem(name, MAX_NAME):
        yield (), problem
    elif ending := next((end for end in _OWN_SUFFIXES if name.endswith(end)), None):
        yield (), f"a name must not end in {ending}: our own tables are called so"
    if entity.record_type is not None and not kind.has_record_types:
        yield ("record_type",), "this kind of CRM has no record types; remove the key"
    yield from _vendor_names(kind, entity)
    for index, condition in enumerate(entity.filter):
        yield from (((("filter", index)), message) for message in _condition(condition))
    yield from _match(entity)
    if entity.similar is not None:
        types = {name: field.type for name, field in entity.fields.items() if field.computed is None}
        yield from ((("similar", *path), message) for path, message in entity.similar.complaints(types))
    if entity.deletes is not None:
        yield from ((("deletes", *path), said) for path, said in entity.deletes.complaints(entity.direction))
    longest = max(1, min(MAX_FIELD, MAX_PAIR - len(name)))
    for field_name, field in entity.fields.items():
        if problem := name_problem(field_name, longest):
            yield ("fields", field_name), problem
        elif field_name in RESERVED_FIELDS:
            yield ("fields", field_name), "this name is a column of our own tables; choose another name"
        for path, message in _field(kind, entity, field, entities):
            yield ("fields", field_name, *path), message
    yield from _written_twice(kind, entity)


def _vendor_names(kind: type[ConnectionModel], entity: EntityModel) -> Iterator[Complaint]:
    named: list[tuple[Path, str | None]] = [
        (("object",), entity.object),
        (("external_id",), entity.external_id),
    ]
    named += [(("constants", name), name) for name in entity.constants]
    named += [(("filter", index, "field"), one.field) for index, one in enumerate(entity.filter)]
    for name, field in entity.fields.items():
        named += [
            (("fields", name, "field"), field.field),
            (("fields", name, "association"), field.association),
        ]
    for path, vendor in named:
        if vendor is not None and not kind.vendor_name.fullmatch(vendor):
            yield (
                path,
                "this cannot be a name in this kind of CRM; use its API name, without spaces and special characters",
            )


def _condition(condition: ConditionModel) -> Iterator[str]:
    values, operator = condition.values, condition.operator
    if operator in _NONE:
        if condition.value is not None or values is not None:
            yield f"operator {operator} takes no value; remove it"
    elif operator in _SEVERAL:
        if not values or condition.value is not None:
            yield f"operator {operator} takes a list: values: [a, b]"
    elif condition.value is None or values is not None:
        yield f"operator {operator} takes one value: value: a"


def _match(entity: EntityModel) -> Iterator[Complaint]:
    columns = [name for name, field in entity.fields.items() if field.computed is None]
    for index, rule in enumerate(entity.match):
        if not rule:
            yield ("match", index), "a rule must name at least one field"
        for name in rule:
            field = entity.fields.get(name)
            if field is None:
                yield (
                    ("match", index),
                    f"{name} is not a field of this entity{nearest(name, columns)}; fields: {', '.join(columns)}",
                )
            elif field.computed is not None or field.type in (FieldType.JSON, FieldType.MULTIPICKLIST):
                what = "a computed field" if field.computed is not None else f"a field of type {field.type}"
                yield ("match", index), f"{name} is {what}, by which records cannot be matched"


def _field(
    kind: type[ConnectionModel], entity: EntityModel, field: FieldModel, entities: frozenset[str]
) -> Iterator[Complaint]:
    yield from _source(kind, field)
    yield from _templates(entity, field)
    yield from _direction(entity, field)
    yield from _reference(field, entities)
    yield from _picklist(entity, field)
    if field.scale is not None and field.type is not FieldType.NUMBER:
        yield ("scale",), "only a field of type number has a scale"
    if field.region is not None and field.type is not FieldType.PHONE:
        yield ("region",), "only a field of type phone has a region"


def _source(kind: type[ConnectionModel], field: FieldModel) -> Iterator[Complaint]:
    """A value comes from, or goes to, exactly one place."""
    given = [
        key
        for key, value in (("field", field.field), ("association", field.association), ("from", field.from_))
        if value
    ]
    if not given:
        yield (
            (),
            "where is the value in the CRM? Give one of field, association, from (and computed only with field)",
        )
    elif len(given) > 1:
        yield (), f"{' and '.join(given)} exclude each other; keep one"
    if field.association is not None:
        if not kind.has_associations:
            yield ("association",), "this kind of CRM has no associations; use field"
        if field.type is not FieldType.REFERENCE:
            yield ("type",), "a field with an association must have type: reference"
    if field.computed is not None and field.field is None:
        yield ("computed",), "needs field: the CRM's field that gets the text"


def _templates(entity: EntityModel, field: FieldModel) -> Iterator[Complaint]:
    for key, template in (("computed", field.computed), ("from", field.from_)):
        if template is None:
            continue
        if field.type in (FieldType.REFERENCE, *_PICKLISTS, FieldType.JSON):
            yield ("type",), f"a field with {key} is a text; type {field.type} does not go with it"
        if not template_fields(template) or re.search(r"[{}]", re.sub(r"{\w+}", "", template)):
            yield (
                (key,),
                'must name fields in braces and have no other braces, such as "{first_name} {last_name}"',
            )
    columns = [name for name, one in entity.fields.items() if one.computed is None]
    for name in template_fields(field.computed or ""):
        if name not in columns:
            hint = f"{nearest(name, columns)}; fields: {', '.join(columns)}"
            yield ("computed",), f"{name} is not a field of this entity that has a value of its own{hint}"
        elif entity.fields[name].type in (FieldType.REFERENCE, FieldType.JSON):
            yield ("computed",), f"{name} has type {entity.fields[name].type}, which makes no sense in a text"


def _direction(entity: EntityModel, field: FieldModel) -> Iterator[Complaint]:
    final, said = field_direction(entity, field), field.direction
    fixed = "computed" if field.computed is not None else "from" if field.from_ is not None else None
    if fixed and said not in (None, final):
        yield ("direction",), f"a field with {fixed} is {final}; remove the key"
    if entity.direction not in (Direction.TWO_WAY, final):
        yield (
            (("computed" if fixed == "computed" else "from"),),
            f"is {final}, but the entity is {entity.direction}",
        )
    elif not fixed and said not in (None, Direction.TWO_WAY, final):
        yield ("direction",), f"is {said}, but the entity is {entity.direction}; allowed: {entity.direction}"
    if field.required and final is Direction.INBOUND:
        yield ("required",), "is about sending to the CRM, but this field is inbound; remove the key"


def _reference(field: FieldModel, entities: frozenset[str]) -> Iterator[Complaint]:
    if field.type is not FieldType.REFERENCE:
        if field.entity is not None:
            yield ("entity",), "only a field of type reference has an entity"
    elif field.entity is None:
        yield (
            ("entity",),
            f"is missing: the entity that the value points to; allowed: {', '.join(sorted(entities))}",
        )
    elif field.entity not in entities:
        hint = f"{nearest(field.entity, entities)}; allowed: {', '.join(sorted(entities))}"
        yield ("entity",), f"{field.entity} is not mapped in this connection{hint}"


def _picklist(entity: EntityModel, field: FieldModel) -> Iterator[Complaint]:
    for key, given in (("values", field.values), ("from_crm", field.from_crm)):
        if given is not None:
            yield from (((key, *path), message) for path, message in _value_map(field.type, given))
    if field.from_crm is None or field_direction(entity, field) is Direction.INBOUND:
        return
    if field.values is None:
        yield ("from_crm",), "needs values too, unless the field is inbound"
        return
    for theirs, ours in field.from_crm.items():
        if ours not in field.values:
            known = ", ".join(field.values)
            hint = f"{nearest(ours, field.values)}; in values: {known}"
            yield ("from_crm", theirs), f"{ours} is not one of our values{hint}"


def _value_map(field_type: FieldType, given: Mapping[str, str]) -> Iterator[Complaint]:
    if field_type not in _PICKLISTS:
        yield (), "only a field of type picklist or multipicklist has a map of values"
    if not given:
        yield (), "must not be empty"
    for pair in given.items():
        if any(not side.strip() for side in pair):
            yield (pair[0],), "a value must not be blank"
        if field_type is FieldType.MULTIPICKLIST and any(";" in side for side in pair):
            yield (pair[0],), "a value of a multipicklist cannot contain ;"


def _written_twice(kind: type[ConnectionModel], entity: EntityModel) -> Iterator[Complaint]:
    """A field of the CRM that two of ours, or one of ours and a fixed value, would be sent to."""
    external = entity.external_id if "external_id" in entity.model_fields_set else kind.default_external_id
    sent = Counter(
        one.field
        for one in entity.fields.values()
        if one.field and field_direction(entity, one) is not Direction.INBOUND
    )
    for name, field in entity.fields.items():
        if field.field is None:
            continue
        path = ("fields", name, "field")
        if field.field == external:
            yield path, f"{external} holds the hub id (external_id) and cannot be mapped"
        if field_direction(entity, field) is Direction.INBOUND:
            continue
        if sent[field.field] > 1:
            yield (
                path,
                f"{field.field} is the target of more than one of our fields; make all but one inbound",
            )
        if field.field in entity.constants:
            yield path, f"{field.field} also has a fixed value in constants; keep one of the two"
