"""Writing records: batches of a hundred, and what became of each record.

Here: inputs, the reading of an answer row by row, and the search for the culprit when HubSpot refuses a batch as a
whole. Results are joined to operations by trace id, by our unique property, or by record id, never by order, which
HubSpot does not keep. With a trace id on every input HubSpot refuses single records (207) instead of the batch
(developers.hubspot.com/docs/api-reference/latest/crm/objects/contacts/guide); some refusals, such as an e-mail address
that another contact has, can still hit the batch: then it is sent again in halves.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from crm_sync.connectors import unmoved
from crm_sync.connectors.batches import Pace, Way, in_batches
from crm_sync.connectors.crm import Operation, Result
from crm_sync.connectors.hubspot.api import Api, Json
from crm_sync.connectors.hubspot.associations import Associations, Change, Ends
from crm_sync.connectors.hubspot.errors import RefusedError, record_error
from crm_sync.connectors.hubspot.look import Look
from crm_sync.connectors.hubspot.paths import plural
from crm_sync.connectors.hubspot.properties import ASSOCIATION
from crm_sync.connectors.hubspot.rows import Shape
from crm_sync.connectors.hubspot.values import from_hubspot, modified, to_hubspot
from crm_sync.core.errors import CrmError, ErrorClass, RecordError
from crm_sync.core.spec import FieldType, StreamSpec

MAX_BATCH = 100
FAMILY = "batch_write"

Verb = Literal["create", "upsert", "update", "archive"]
_VERBS: tuple[Verb, ...] = ("create", "upsert", "update", "archive")
Record = Mapping[str, Any]

_ABOUT_RECORDS = frozenset({400, 404, 409, 414, 422})  # statuses that one record can cause for its batch


@dataclass(frozen=True, slots=True)
class Prepared:
    """An operation in HubSpot's words. `links`: association field to the id it shall have."""

    operation: Operation
    properties: Mapping[str, str]
    links: Mapping[str, str | None]


class Writer:
    """Writes records of one stream."""

    def __init__(
        self,
        api: Api,
        associations: Associations,
        stream: StreamSpec,
        shape: Shape,
        look: Look | None,
        pace: Pace,
    ) -> None:
        self._api = api
        sleep = api.transport.settings.sleep
        self._way = partial(Way, of=_operation, parent=_parent, sleep=sleep, pace=pace)
        self._associations = associations
        self._stream = stream
        self._shape = shape
        self._look = look
        self._types = unmoved.types_of(stream)
        self._kinds = {**self._types, **shape.fields}

    def write(self, operations: Sequence[Operation], size: int | None) -> Iterator[list[Result]]:
        """One list of results per answer, calls side by side. Creates go first, deletes last."""
        way = partial(self._way, limit=min(size or MAX_BATCH, MAX_BATCH))
        refused: list[Result] = []
        waiting: dict[Verb, list[Prepared]] = {}
        only_links: list[Prepared] = []
        for operation in operations:
            made = self._prepare(operation)
            if isinstance(made, Result):
                refused.append(made)
            elif operation.kind == "update" and not made.properties:
                only_links.append(made)
            else:
                waiting.setdefault(self._verb(operation), []).append(made)
        if refused:
            yield refused
        work = [(partial(self._batch, verb), waiting[verb]) for verb in _VERBS if verb in waiting]
        if only_links:
            work.append((partial(self._only_links), only_links))
        for send, some in work:
            yield from in_batches(way(send=send, lets_go=some is work[-1][1]), some)

    def _batch(self, verb: Verb, chunk: Sequence[Prepared]) -> Iterator[list[Result]]:
        left = yield from self._looked_at(chunk)
        for answer in self._send(verb, left) if left else ():
            yield from self._with_links(left, answer)

    def _only_links(self, chunk: Sequence[Prepared]) -> Iterator[list[Result]]:
        left = yield from self._looked_at(chunk)
        answer = [Result(p.operation.key, ok=True, crm_id=p.operation.crm_id, returned={}) for p in left]
        yield from self._with_links(left, answer)

    def _looked_at(self, chunk: Sequence[Prepared]) -> Generator[list[Result], None, Sequence[Prepared]]:
        """Hands out the results of updates whose records have moved; returns what may be sent."""
        operations = [one.operation for one in chunk]
        if self._look is None or not unmoved.compared(operations):
            return chunk
        seen = self._look.at(operations)
        _, moved = unmoved.sifted(self._types, operations, seen.now, seen.merged)
        if not moved:
            return chunk
        yield moved
        keys = {result.key for result in moved}
        return [one for one in chunk if one.operation.key not in keys]

    def _verb(self, operation: Operation) -> Verb:
        if operation.kind == "delete":
            return "archive"
        if operation.kind == "update":
            return "update"
        return "upsert" if self._stream.external_id else "create"

    def _prepare(self, operation: Operation) -> Prepared | Result:
        if operation.kind == "delete":
            return Prepared(operation, {}, {})
        create = operation.kind == "create"
        values = {**(self._stream.constants if create else {}), **operation.values}
        links = {name: values.pop(name) for name in list(values) if name.startswith(ASSOCIATION)}
        if self._shape.stages:
            translated = self._shape.stages.to_hubspot(values)
            if isinstance(translated, RecordError):
                return Result.refused(operation, translated)
            values = translated
        properties = {
            name: to_hubspot(value, self._types.get(name, FieldType.STRING))
            for name, value in values.items()
            if value is not None or not create
        }
        if create and self._stream.external_id:
            properties[self._stream.external_id] = operation.key
        return Prepared(
            operation, properties, {n: v for n, v in links.items() if v is not None or not create}
        )

    def _send(self, verb: Verb, chunk: Sequence[Prepared]) -> Iterator[list[Result]]:
        path = self._api.paths.batch(self._shape.object, verb)
        try:
            answer = self._api.write(path, FAMILY, {"inputs": [self._input(verb, one) for one in chunk]})
        except RefusedError as error:
            if error.status not in _ABOUT_RECORDS or error.error_class is ErrorClass.AUTH:
                raise
            if len(chunk) == 1:
                yield [Result.refused(chunk[0].operation, error.record)]
                return
            yield from self._in_halves(verb, chunk)
            return
        if verb == "archive" and not answer.get("errors"):  # 204: all are gone, or were so before
            yield [Result(one.operation.key, ok=True, crm_id=one.operation.crm_id) for one in chunk]
            return
        known, rest = self._joined(verb, chunk, answer)
        yield known
        if not rest:
            return
        errors = [record_error(entry) for entry in answer.get("errors") or () if not _ids(entry)]
        if not errors:
            lost = RecordError(
                ErrorClass.UNKNOWN_OUTCOME, "NO_RESULT", "HubSpot's answer leaves this record out"
            )
            yield [Result.refused(one.operation, lost) for one in rest]
        elif len(rest) == 1:
            yield [Result.refused(rest[0].operation, errors[0])]
        else:  # refused, but HubSpot does not say who for what: smaller batches will tell
            yield from self._in_halves(verb, rest)

    def _in_halves(self, verb: Verb, chunk: Sequence[Prepared]) -> Iterator[list[Result]]:
        middle = len(chunk) // 2
        for half in (chunk[:middle], chunk[middle:]):
            yield from self._send(verb, half)

    def _input(self, verb: Verb, one: Prepared) -> Json:
        operation = one.operation
        if verb == "archive":
            return {"id": operation.crm_id}
        made: Json = {"objectWriteTraceId": operation.key, "properties": dict(one.properties)}
        if verb == "update":
            made["id"] = operation.crm_id
        elif verb == "upsert":
            made["id"] = operation.key
            made["idProperty"] = self._stream.external_id
        return made

    def _joined(
        self, verb: Verb, chunk: Sequence[Prepared], answer: Json
    ) -> tuple[list[Result], list[Prepared]]:
        """Results for the operations that the answer names, and the operations that it does not."""
        index: dict[str, Prepared] = {}
        for one in chunk:
            index[f"trace:{one.operation.key}"] = one
            index[f"id:{one.operation.crm_id}"] = one
        done: dict[str, Result] = {}
        for record in answer.get("results") or ():
            found = index.get(f"trace:{self._key(record)}") or index.get(f"id:{record.get('id')}")
            if found is not None:
                done[found.operation.key] = self._accepted(verb, found, record)
        for entry in answer.get("errors") or ():
            for name in _ids(entry):
                found = index.get(f"trace:{name}") or index.get(f"id:{name}")
                if found is not None and found.operation.key not in done:
                    done[found.operation.key] = Result.refused(found.operation, record_error(entry))
        rest = [one for one in chunk if one.operation.key not in done]
        if verb == "archive" and not any(not _ids(entry) for entry in answer.get("errors") or ()):
            # An archive's answer names only those that were refused.
            known = [Result(one.operation.key, ok=True, crm_id=one.operation.crm_id) for one in rest]
            return [*done.values(), *known], []
        return list(done.values()), rest

    def _key(self, record: Record) -> str:
        trace = record.get("objectWriteTraceId")
        if trace is None and self._stream.external_id:
            trace = (record.get("properties") or {}).get(self._stream.external_id)
        return str(trace)

    def _accepted(self, verb: Verb, one: Prepared, record: Record) -> Result:
        properties = record.get("properties") or {}
        returned: dict[str, str | None] = {}
        for name, kind in self._kinds.items():
            if name in properties:
                value = from_hubspot(properties[name], kind)
                returned[name] = self._shape.stages.from_hubspot(name, value) if self._shape.stages else value
            elif one.properties.get(name) == "":
                returned[name] = None  # HubSpot leaves out what it has cleared
        return Result(
            one.operation.key,
            ok=True,
            crm_id=str(record["id"]),
            created=bool(record.get("new", verb == "create")),
            returned=returned,
            modified_at=modified(record, self._shape.stamp_property),
        )

    def _with_links(self, chunk: Sequence[Prepared], answer: Sequence[Result]) -> Iterator[list[Result]]:
        """The answer with the associations of its records written."""
        links = {one.operation.key: one.links for one in chunk if one.links}
        concerned = [result for result in answer if result.ok and result.key in links]
        if not concerned:
            if answer:
                yield list(answer)
            return
        results = {result.key: result for result in answer}
        try:
            for field_name in dict.fromkeys(name for result in concerned for name in links[result.key]):
                wanted = {r.key: links[r.key][field_name] for r in concerned if field_name in links[r.key]}
                results |= self._link(field_name, wanted, results)
        except CrmError:
            yield [result for result in answer if result not in concerned]
            raise
        yield list(results.values())

    def _link(
        self, field_name: str, wanted: Mapping[str, str | None], results: Mapping[str, Result]
    ) -> dict[str, Result]:
        target = self._shape.associations.get(field_name) or plural(field_name.removeprefix(ASSOCIATION))
        keys = {str(results[key].crm_id): key for key in wanted}
        known = [crm_id for crm_id, key in keys.items() if not results[key].created]
        before = {crm_id: Ends() for crm_id in keys}
        if known:
            before |= self._associations.read(self._shape.object, target, known)
        changes = [Change(crm_id, wanted[key]) for crm_id, key in keys.items()]
        made: dict[str, Result] = {}
        for crm_id, outcome in self._associations.change(self._shape.object, target, changes, before).items():
            result = results[keys[crm_id]]
            if isinstance(outcome, RecordError):
                error = replace(outcome, fields=(field_name,))
                made[result.key] = replace(result, ok=False, error=result.error or error)
            else:
                made[result.key] = replace(result, returned={**(result.returned or {}), field_name: outcome})
        return made


def _operation(one: Prepared) -> Operation:
    return one.operation


def _parent(one: Prepared) -> str | None:
    """What HubSpot locks while it writes the record: the first that it is associated with."""
    return next((crm_id for crm_id in one.links.values() if crm_id is not None), None)


def _ids(entry: Mapping[str, Any]) -> list[str]:
    """Trace ids and record ids that an entry of `errors` names."""
    context = entry.get("context") or {}
    found: list[str] = []
    for name in ("objectWriteTraceId", "ids", "id", "objectId"):
        value = context.get(name)
        if value is not None:
            found += [str(one) for one in (value if isinstance(value, list) else [value])]
    return found
