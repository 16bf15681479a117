"""What happened to a record, line by line, from what is remembered of it. Pure.

What an application writes into the hub is in no journal until it moves: of its last write of a field the provenance
tells, of earlier ones only the value that was then pushed. Where a value came from is said only if it follows from
what is remembered.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from crm_sync.core.normalise import to_crm
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec
from crm_sync.hub.journal import Change, Dispute, Facts, Held, Unanswered
from crm_sync.steps import explained
from crm_sync.steps.story import Line

APPLICATION = "application"
HUB = "hub"


def lines(facts: Facts, streams: Mapping[str, StreamSpec]) -> list[Line]:
    """Everything that happened, oldest first; `streams` by connection."""
    journal = _Journal(facts, streams)
    found = [line for change in facts.changes for line in journal.told(change)]
    found += _by_applications(facts)
    for dispute in facts.disputes:
        found += _dispute(dispute)
    for connection, side in facts.sides.items():
        found += [_parked(connection, held) for held in side.parked]
        if side.unanswered is not None:
            found += journal.unanswered(connection, side.crm_id, side.unanswered)
    if facts.deleted is not None and not _told_by_journal(facts, facts.deleted[1]):
        at, by = facts.deleted
        found.append(Line(at, "deleted", HUB, source=source(by), why=f"deleted in the hub by {who(by)}"))
    return sorted(found, key=lambda line: line.at)


def _told_by_journal(facts: Facts, by: str) -> bool:
    """Whether a deletion of ours in the hub has a line already."""
    return by != HUB and any(c.side == HUB and c.kind == "delete" for c in facts.changes)


def source(changed_by: str) -> str:
    """Who changed the hub, as provenance and tombstones say it, as a source of a line."""
    return APPLICATION if changed_by == HUB else changed_by


def who(changed_by: str) -> str:
    """The same in words."""
    return "an application" if changed_by == HUB else changed_by


@dataclass(frozen=True, slots=True)
class _Said:
    """A value that a connection brought into the hub, as the hub's text."""

    value: str | None
    connection: str


class _Journal:
    """Lines of the journal's rows, in their order; on the way it is kept what was last taken into each hub field."""

    def __init__(self, facts: Facts, streams: Mapping[str, StreamSpec]) -> None:
        self._facts = facts
        self._streams = streams
        names = dict.fromkeys(f.name for stream in streams.values() for f in stream.fields)
        self._places = {name: place for place, name in enumerate(names)}
        self._taken: dict[str, _Said] = {}
        self._made_by: str | None = None  # the connection of which the record was created in the hub

    def told(self, c: Change) -> Iterator[Line]:
        """The lines of one row; a `create` is unfolded."""
        target = HUB if c.side == "hub" else c.connection
        base = Line(
            c.at,
            c.kind,
            target,
            c.field,
            person=explained.person(c.reason),
            why=explained.reason(c.reason, c.connection),
            reason=c.reason,
            run_id=c.run_id,
            crm_id=c.crm_id,
            said=explained.answer(c.answer, c.field),
            answer=c.answer,
        )
        if c.field is not None:
            yield self._value(base, c, c.field, c.old_value, c.new_value)
            return
        if c.side == "hub" and c.kind == "create":
            self._made_by = c.connection
        values = _values(c.new_value)
        yield _of(base, c.connection if c.side == "hub" else self._owner())
        for name, value in sorted(
            values.items(), key=lambda item: self._places.get(item[0], len(self._places))
        ):
            line = self._value(base, c, name, None, value)
            yield _of(line, line.source, said=explained.answer(c.answer, name) if c.answer else "")

    def _value(self, base: Line, c: Change, name: str, old: str | None, new: str | None) -> Line:
        if c.side == "hub":
            self._taken[name] = _Said(new, c.connection)
            return _of(base, c.connection, field=name, old=old, new=new)
        came = self.origin(c.connection, name, new)
        return _of(base, came, field=name, old=old, new=new)

    def unanswered(self, connection: str, crm_id: str | None, intent: Unanswered) -> Iterator[Line]:
        """A write that left, or was about to, and whose answer is not known yet."""
        for name, value in intent.sent.items():
            reason = intent.reasons.get(name, "new in the hub" if intent.kind == "create" else "")
            if intent.kind == "create" and value is None:
                continue
            yield Line(
                intent.created_at,
                "sent",
                connection,
                name,
                self.origin(connection, name, value),
                explained.person(reason),
                intent.old_values.get(name),
                value,
                why=explained.reason(reason, connection),
                reason=reason,
                run_id=intent.run_id,
                crm_id=crm_id,
                said="no answer yet; the next sync looks before anything else",
            )

    def origin(self, connection: str, name: str, sent: str | None) -> str:
        """Where a value that was sent to a CRM came from: the connection that had brought it into the hub, an
        application if what was brought last is another one, "hub" if that cannot be told."""
        spec = self._spec(connection, name)
        if spec is None or spec.computed is not None or spec.type is FieldType.REFERENCE:
            return HUB
        said = self._taken.get(name)
        if said is not None:
            means = to_crm(spec, [said.value])[0]
            return said.connection if sent in (means, said.value) else APPLICATION
        return HUB if self._facts.older else APPLICATION

    def _owner(self) -> str:
        return self._made_by or (HUB if self._facts.older else APPLICATION)

    def _spec(self, connection: str, name: str) -> FieldSpec | None:
        stream = self._streams.get(connection)
        return next((f for f in stream.fields if f.name == name), None) if stream else None


def _of(line: Line, came_from: str | None, **more: str | None) -> Line:
    return replace(line, source=came_from, **more)  # type: ignore[arg-type]


def _values(text: str | None) -> dict[str, str | None]:
    """The values of a created record; none if the text is not what we write there."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        str(k): v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False)
        for k, v in found.items()
    }


def ours(facts: Facts, name: str) -> bool:
    """Whether the hub's last change of a field that no connection made is in the journal: then we made it, at a
    person's word (an undo), and no application."""
    at, by = facts.provenance.get(name, (None, ""))
    if at is None or by != HUB:
        return False
    return any(
        c.side == HUB and c.connection == HUB and c.field == name and c.at >= at for c in facts.changes
    )


def _by_applications(facts: Facts) -> Iterator[Line]:
    """The last write of an application to each field, and the record's creation, if an application made it."""
    now = {v.field: v.hub for side in facts.sides.values() for v in side.values}
    for name, (at, by) in facts.provenance.items():
        if by != HUB or ours(facts, name):
            continue
        if name == "*":
            yield Line(at, "create", HUB, source=APPLICATION, why="created in the hub by an application")
            continue
        if name == "archived_at":
            what = ("restore", "brought back") if facts.archived is None else ("archive", "archived")
            yield Line(at, what[0], HUB, source=APPLICATION, why=f"{what[1]} in the hub by an application")
            continue
        why = "changed in the hub by an application"
        if not facts.there or name not in now:
            why += "; what it said is not recorded"
        new = now.get(name) if facts.there else None
        yield Line(at, "update", HUB, name, APPLICATION, new=new, old_known=False, why=why)


_ENDS = {
    "open": "",
    "decided": "",
    "skipped": "",
    "applied": "; it is settled",
    "superseded": "; it has ended by itself",
}
_DECISIONS = {"use_hub": "that the hub's value holds", "use_crm": "that the CRM's value holds"}


def _dispute(d: Dispute) -> Iterator[Line]:
    why = explained.reason(d.reason, d.connection) + _ENDS.get(d.status, "")
    if d.values_at > d.opened_at:
        why += f"; with these values since {d.values_at:%Y-%m-%d %H:%M:%S}"
    about = {
        "field": d.field,
        "hub_value": d.hub_value,
        "crm_value": d.crm_value,
        "conflict": d.id,
        "reason": d.reason,
    }
    yield Line(d.opened_at, "conflict", d.connection, why=why, run_id=d.run_id, **about)  # type: ignore[arg-type]
    if d.decided_at is not None and d.decided_by is not None:
        choice = _DECISIONS.get(d.decision or "", "to leave both sides as they are until one changes")
        yield Line(
            d.decided_at, "decision", d.connection, person=d.decided_by, why=f"{d.decided_by} decided {choice}",
            **about,  # type: ignore[arg-type]
        )  # fmt: skip


def _parked(connection: str, held: Held) -> Line:
    times = (
        f"; seen {held.attempts} times, last {held.last_at:%Y-%m-%d %H:%M:%S}" if held.attempts > 1 else ""
    )
    return Line(
        held.first_at,
        "parked",
        connection if held.side == "hub" else HUB,
        held.field or None,
        connection if held.side == "crm" else HUB,
        why=f"{held.reason} ({held.code}){times}",
        reason=held.code,
        run_id=held.run_id,
    )
