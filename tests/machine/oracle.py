"""What must hold, whatever happened: checks at every step, and those for when everything is quiet again.

The oracle knows the two accounts, the hub and what people did (`Diary`), and has its own, simple idea of what a
value means on the other side. It shares no code with the engine but the names of its tables.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from crm_sync.connectors.crm import Operation
from crm_sync.core.decide import LANDED_OR_TYPED
from tests.machine.fragile import OVERLAP
from tests.machine.ground import NAMES, OBJECTS, STAGES, Ground

Key = tuple[str, str, str]  # side ("hub" or a connection), record, field


class Invariant(StrEnum):
    """What must hold; the words of the design, in its order."""

    CONVERGENCE = "convergence"
    QUIESCENCE = "quiescence"
    NO_LOST_UPDATE = "no lost update"
    NO_BLIND_OVERWRITE = "no blind overwrite"
    EFFECTIVELY_ONCE = "effectively once"
    CONFLICT_COMPLETENESS = "conflict completeness"
    NO_PHANTOM_WRITES = "no phantom writes"
    ATOMIC_PROGRESS = "atomic progress"
    ISOLATION = "isolation of the bad record"
    BUDGET = "budget"
    LIFE_CYCLE = "life cycle"
    DRY_RUN = "a dry run leaves nothing behind"
    NO_FAILURE = "the engine does not fail"


class Broken(AssertionError):  # noqa: N818
    """An invariant does not hold."""

    def __init__(self, invariant: Invariant, said: str) -> None:
        super().__init__(f"{invariant}: {said}")
        self.invariant = invariant


@dataclass(slots=True)
class Diary:
    """What people wrote (`written`: all of it). last: the last value a person wrote, by side, record and field. replaced: earlier ones that
    somebody else had replaced by then, and nobody has put back (`wrote`). unseen: what was overwritten in a CRM before anybody could see it (the time
    between the last look and the write: no vendor's batch interface lets us compare and set). landed: what a write of ours
    set long after it was sent. made: our creates. made_late: those of which the same is true, and that made a new record. born: where the people came from, by e-mail. gone: e-mails of people whose record somebody deleted, archived or merged; hub_deleted: hub records that
    an application deleted. restored_beside: records that somebody took out of a CRM's recycle bin when another one had
    been made in their place, or while a run was under way that could have looked already. hidden: vendor fields that a
    connection was not allowed to see for a while; what changed meanwhile, only a full read tells."""

    last: dict[Key, str | None] = field(default_factory=dict)
    written: dict[Key, set[str | None]] = field(default_factory=dict)
    replaced: set[tuple[Key, str | None]] = field(default_factory=set)
    unseen: set[tuple[Key, str | None]] = field(default_factory=set)
    landed: set[tuple[Key, str | None]] = field(default_factory=set)
    made: list[tuple[str, Operation]] = field(default_factory=list)
    made_late: list[tuple[str, Operation]] = field(default_factory=list)
    born: dict[str, list[str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    hub_deleted: set[str] = field(default_factory=set)
    restored_beside: set[tuple[str, str]] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)

    def wrote(self, key: Key, before: str | None, after: str | None, *, answer_missing: bool = False) -> None:
        """A person changed a value; writing what is already there is no change. answer_missing: a write of ours to this
        field has no answer yet. Who then puts back what it replaced leaves nothing to tell of it: a look shows the old
        value, as if the write had never arrived, and the journal may not claim that it did. The value is the last one
        again, and is looked for as that."""
        if before == after:
            return
        if key in self.last and self.last[key] != before:
            self.replaced.add((key, self.last[key]))
        if answer_missing:
            self.replaced.discard((key, after))
        self.last[key] = after
        self.written.setdefault(key, set()).add(after)


def text(value: object) -> str | None:
    return None if value is None else str(value)


class Oracle:
    """Looks at everything, changes nothing."""

    def __init__(self, ground: Ground, diary: Diary) -> None:
        self.g = ground
        self.diary = diary
        self._stamps: dict[tuple[str, str, str], object] = {}

    # At every step -----------------------------------------------------------------------------------------------

    def each_step(self) -> None:
        for name, entity in self.g.streams:
            self._mirror_only_goes_on(name, entity)
            self._nothing_is_left_behind(name, entity)
        for name in NAMES:
            if self.g.crms[name].unheeded:
                raise Broken(Invariant.BUDGET, f"calls went on after {name} had said that there are too many")

    def _mirror_only_goes_on(self, name: str, entity: str) -> None:
        for crm_id, row in self.g.mirror(name, entity).items():
            before = self._stamps.get((name, entity, crm_id))
            if before is not None and row["modified_at"] < before:  # type: ignore[operator]
                raise Broken(Invariant.ATOMIC_PROGRESS, f"the mirror of {name} {crm_id} went back in time")
            self._stamps[name, entity, crm_id] = row["modified_at"]

    def _nothing_is_left_behind(self, name: str, entity: str) -> None:
        """What was modified before the next window begins is in the mirror, visible or not."""
        position = self.g.one(
            "select position from sync.watermark where connection = %s and entity = %s", name, entity
        )
        if position is None:
            return
        mirror = self.g.mirror(name, entity)
        for row in self.g.accounts[name].rows(OBJECTS[entity]):
            if row.modified >= position - OVERLAP:  # type: ignore[operator]
                continue
            held = mirror.get(row.id)
            shown = {f: v for f, v in self.g.vendor[entity].items() if v not in self.diary.hidden}
            if held is None or any(held[f] != row.values.get(v) for f, v in shown.items()):
                raise Broken(
                    Invariant.ATOMIC_PROGRESS,
                    f"the watermark of {name}/{entity} has passed {row.id}, which was not read",
                )

    def before_write(self, name: str, operation: Operation, *, raced: bool) -> None:
        """A write is about to take effect: the engine must have seen what it overwrites, and must change something.
        raced: somebody changed the record after the look that comes just before the write, which no vendor's batch
        interface prevents."""
        if operation.kind == "create" or operation.crm_id is None:
            self.diary.made.append((name, operation))
            return
        object_name = operation.crm_id.partition("-")[0]
        entity = {o: e for e, o in OBJECTS.items()}[object_name]
        account = self.g.accounts[name]
        if operation.kind == "delete":
            self._before_delete(name, entity, operation, raced=raced)
            return
        there = account.row(object_name, operation.crm_id)
        if there.deleted:  # the CRM refuses it, and so overwrites nothing
            return
        current = there.values
        seen = self.g.mirror(name, entity)[operation.crm_id]
        base = self.g.base(name, entity)[operation.key]
        ours = {vendor: f for f, vendor in self.g.vendor[entity].items()}
        for vendor, new in operation.values.items():
            f = ours[vendor]
            now = current.get(vendor)
            if now not in (seen[f], new):
                if not raced:
                    raise Broken(
                        Invariant.NO_BLIND_OVERWRITE,
                        f"{name} {operation.crm_id} {vendor} says {now!r}, which was not seen, and becomes {new!r}",
                    )
                self.diary.unseen.add(((name, operation.crm_id, f), now))
                continue
            if now != seen[f]:
                continue
            if now == new or (f == "phone" and new and now and _digits(new) == _digits(now)):
                raise Broken(
                    Invariant.NO_PHANTOM_WRITES,
                    f"phantom write: {name} {operation.crm_id} {vendor} already says {now!r}",
                )
            if f == "phone":
                first = not base["phone_agreed"] and now is None
                if (
                    seen[f] != base["phone_crm"]
                    and not first
                    and not self._decided(name, operation.key, "use_hub")
                ):
                    raise Broken(
                        Invariant.NO_BLIND_OVERWRITE,
                        f"blind overwrite of {name} {operation.crm_id} phone {now!r} by {new!r}",
                    )

    def _before_delete(self, name: str, entity: str, operation: Operation, *, raced: bool) -> None:
        """Only what the hub does not have any more is deleted, and only if nobody has written to it since it was read."""
        crm_id = str(operation.crm_id)
        if self._there(self.g.hub(entity).get(operation.key)):
            raise Broken(Invariant.LIFE_CYCLE, f"{name} {crm_id} is deleted, but the hub has it")
        row, seen = self.g.accounts[name].row(OBJECTS[entity], crm_id), self.g.mirror(name, entity)[crm_id]
        if raced or row.deleted:  # what is deleted already, the CRM refuses to delete
            return
        for f, vendor in self.g.vendor[entity].items():
            if vendor not in self.diary.hidden and row.values.get(vendor) != seen[f]:
                raise Broken(
                    Invariant.LIFE_CYCLE, f"{name} {crm_id} is deleted with an edit that nobody has seen: {f}"
                )

    def _there(self, hub_row: Mapping[str, object] | None) -> bool:
        return hub_row is not None and hub_row.get("archived_at") is None

    def before_landing(self, name: str, operation: Operation) -> None:
        """A write takes effect long after it was sent: what it overwrites, nobody could see. A create does so as well where
        it was sent once more meanwhile: the CRM finds that record by the hub's id, and updates it."""
        crm_id = operation.crm_id if operation.kind != "create" else self._found_by(name, operation.key)
        if crm_id is None:  # a record that nobody has seen
            self.diary.made_late.append((name, operation))
            return
        object_name = crm_id.partition("-")[0]
        entity = {o: e for e, o in OBJECTS.items()}[object_name]
        there = self.g.accounts[name].row(object_name, crm_id)
        for f, vendor in self.g.vendor[entity].items():
            if vendor in operation.values and there.values.get(vendor) != operation.values[vendor]:
                self.diary.unseen.add(((name, crm_id, f), there.values.get(vendor)))
                self.diary.landed.add(((name, crm_id, f), operation.values[vendor]))

    def _found_by(self, name: str, key: str) -> str | None:
        """The record that a create of this hub record would update in this CRM."""
        account = self.g.accounts[name]
        rows = (row for o in OBJECTS.values() for row in account.rows(o)) if account.habits.upserts else ()
        return next((row.id for row in rows if row.values.get("Hub_Id") == key), None)

    def _decided(self, name: str, hub_id: str, decision: str) -> bool:
        return bool(
            self.g.one(
                "select count(*) from review.conflict where connection = %s and hub_id = %s and field = 'phone'"
                " and status = 'decided' and decision = %s",
                name, hub_id, decision,
            )
        )  # fmt: skip

    # When all is quiet -------------------------------------------------------------------------------------------

    def quiet(self, *, final: bool, bad: str | None = None) -> None:
        """final: what was parked was tried again, so that only what cannot cross may still be parked, and the hub record
        `bad`, which the CRMs refuse."""
        self._queue_is_empty()
        for name, entity in self.g.streams:
            self._links(name, entity)
            self._agreement(name, entity, final=final, bad=bad)
            self._life(name, entity)
        self._merged_stay_merged()
        self._nobody_twice()
        self._nothing_made_twice()
        self._no_lost_update()
        self._hub_was_asked()
        self._nothing_invented()

    def idle(self, before: Mapping[str, Mapping[str, int]], after: Mapping[str, Mapping[str, int]]) -> None:
        """When nothing happens, a sync asks what is new, and nothing else."""
        for name in NAMES:
            made = {
                family: count - before[name].get(family, 0)
                for family, count in after[name].items()
                if count > before[name].get(family, 0)
            }
            if made.keys() - {"changed", "deleted", "describe"}:
                raise Broken(Invariant.QUIESCENCE, f"an idle sync of {name} made these calls: {made}")

    def _queue_is_empty(self) -> None:
        for entry in self.g.rows("select connection, entity, side, record_id from sync.dirty"):
            if not self._waits(str(entry["connection"]), str(entry["entity"]), str(entry["record_id"])):
                raise Broken(Invariant.QUIESCENCE, f"still in the queue: {entry}")
        if left := self.g.rows("select connection, hub_id, kind from sync.intent"):
            raise Broken(Invariant.QUIESCENCE, f"intents without an end: {left}")

    def _waits(self, name: str, entity: str, record_id: str) -> bool:
        """Whether the record refers to something that has no counterpart."""
        if entity != "contact":
            return False
        links = self.g.base(name, "company")
        base = self.g.base(name, "contact")
        hub_id = (
            record_id
            if record_id in base
            else next((h for h, b in base.items() if b["crm_id"] == record_id), record_id)
        )
        ours = self.g.hub("contact").get(hub_id, {}).get("company")
        crm_id = base.get(hub_id, {}).get("crm_id")
        theirs = self.g.mirror(name, "contact").get(str(crm_id), {}).get("company")
        return (ours is not None and str(ours) not in links) or (
            theirs is not None and theirs not in {b["crm_id"] for b in links.values()}
        )

    def _parked(self, name: str, entity: str) -> set[str]:
        return {
            str(row["record_id"])
            for row in self.g.rows(
                "select record_id from sync.parked where connection = %s and entity = %s", name, entity
            )
        }

    def _links(self, name: str, entity: str) -> None:
        """Every record has its counterpart, or waits with its reason."""
        base, parked = self.g.base(name, entity), self._parked(name, entity)
        linked = {str(row["crm_id"]) for row in base.values()}
        for row in self.g.accounts[name].rows(OBJECTS[entity]):
            if row.id not in linked and row.id not in parked and not row.became:
                raise Broken(Invariant.CONVERGENCE, f"{name} {row.id} never arrived in the hub")
        for hub_id, row in self.g.hub(entity).items():
            if hub_id not in base and hub_id not in parked and self._there(row):
                raise Broken(Invariant.CONVERGENCE, f"hub {entity} {hub_id} never arrived in {name}")

    def _agreement(self, name: str, entity: str, *, final: bool, bad: str | None) -> None:
        hub, base, parked = self.g.hub(entity), self.g.base(name, entity), self._parked(name, entity)
        mirror = self.g.mirror(name, entity)
        conflicts = {
            (str(row["hub_id"]), str(row["field"]))
            for row in self.g.rows(
                "select hub_id, field from review.conflict where connection = %s and entity = %s"
                " and status in ('open', 'skipped')", name, entity,
            )
        }  # fmt: skip
        for hub_id, link in base.items():
            crm_id = str(link["crm_id"])
            row = self.g.accounts[name].row(OBJECTS[entity], crm_id)
            ours = hub.get(hub_id)
            if row.deleted or row.became or ours is None or not self._there(ours):
                continue
            if hub_id in parked or crm_id in parked:
                if final and hub_id != bad and not self._cannot_cross(ours, row.values):
                    raise Broken(Invariant.ISOLATION, f"{name} {crm_id} is parked without need")
                continue
            for f, vendor in self.g.vendor[entity].items():
                theirs = row.values.get(vendor)
                if mirror[crm_id][f] != theirs:
                    raise Broken(
                        Invariant.CONVERGENCE,
                        f"the mirror of {name} {crm_id} {f}: {mirror[crm_id][f]!r}, there it is {theirs!r}",
                    )
                if (hub_id, f) in conflicts or self._same(name, f, ours, theirs):
                    continue
                if f == "company" and self._waits(name, entity, hub_id):
                    continue
                raise Broken(
                    Invariant.CONFLICT_COMPLETENESS,
                    f"{name} {crm_id} {f}: hub {ours.get(f)!r}, CRM {theirs!r}, and nobody was asked",
                )

    def _life(self, name: str, entity: str) -> None:
        """A record is there on both sides or on none, or somebody was asked."""
        hub, parked = self.g.hub(entity), self._parked(name, entity)
        asked = {
            str(row["hub_id"])
            for row in self.g.rows(
                "select hub_id from review.conflict where connection = %s and entity = %s and field = '*'"
                " and status in ('open', 'skipped')", name, entity,
            )
        }  # fmt: skip
        for hub_id, link in self.g.base(name, entity).items():
            crm_id = str(link["crm_id"])
            row = self.g.accounts[name].row(OBJECTS[entity], crm_id)
            here = self._there(hub.get(hub_id))
            if here == row.deleted and hub_id not in asked and not {hub_id, crm_id} & parked:
                sides = f"hub {'has it' if here else 'has not'}, CRM {'has not' if row.deleted else 'has it'}"
                raise Broken(Invariant.LIFE_CYCLE, f"{name} {crm_id}: {sides}, and nobody was asked")

    def _merged_stay_merged(self) -> None:
        """No record is made again in a CRM in which somebody merged it, unless a person keeps the two apart."""
        for row in self.g.rows(
            "select c.connection, c.hub_id from sync.change c join review.merge r using (connection, entity, hub_id)"
            " where c.side = 'crm' and c.kind = 'create' and c.at > r.opened_at and r.decision is distinct from 'apart'"
        ):
            raise Broken(Invariant.LIFE_CYCLE, f"made again, though its record there was merged: {row}")

    def _cannot_cross(self, ours: dict[str, object], theirs: object) -> bool:
        return "nonsense" in ours.values() or "nonsense" in theirs.values()  # type: ignore[attr-defined]

    def _same(self, name: str, f: str, ours: dict[str, object], theirs: str | None) -> bool:
        if f == "full_name":
            return " ".join(str(ours[n]) for n in ("first_name", "last_name") if ours[n] is not None) == (
                theirs or ""
            )
        value = text(ours[f])
        if value is None or theirs is None:
            return value == theirs
        if f == "phone":
            return _digits(value) == _digits(theirs)
        if f == "stage":
            return STAGES.get(value) == theirs
        if f == "company":
            link = self.g.base(name, "company").get(value)
            return link is not None and link["crm_id"] == theirs
        return value == theirs

    def _nobody_twice(self) -> None:
        """Nobody is there more often than people entered them. (Somebody who was entered on two sides may be.)"""
        found = {"hub": [str(row["email"]) for row in self.g.hub("contact").values()]}
        for name in NAMES:
            found[name] = [str(row.values.get("Email")) for row in self.g.accounts[name].rows("Contact")]
        for email, births in self.diary.born.items():
            if email in self.diary.gone or (email != "None" and len(births) > 1):
                continue
            for side, emails in found.items():
                if emails.count(email) > len(births):
                    raise Broken(
                        Invariant.EFFECTIVELY_ONCE,
                        f"{email} is in {side} {emails.count(email)} times, entered {len(births)} times",
                    )

    def _nothing_made_twice(self) -> None:
        """No hub record has two records in one CRM: neither by its id there, nor by the journal. What a person took out of
        the recycle bin beside the one that was made in its place is no doing of ours, and is shown as its double."""
        for name in NAMES:
            for object_name in OBJECTS.values():
                ids = [
                    row.values.get("Hub_Id")
                    for row in self.g.accounts[name].rows(object_name)
                    if (name, row.id) not in self.diary.restored_beside
                ]
                for hub_id, times in Counter(filter(None, ids)).items():
                    if times > 1:
                        raise Broken(
                            Invariant.EFFECTIVELY_ONCE, f"{name} has {times} records of the hub's {hub_id}"
                        )
            for row in self.g.rows(
                "select entity, hub_id, count(*) from sync.change where connection = %s and side = 'crm'"
                " and kind = 'create' group by entity, hub_id, crm_id having count(*) > 1", name,
            ):  # fmt: skip
                raise Broken(
                    Invariant.EFFECTIVELY_ONCE, f"{name}: the journal tells of one create twice: {row}"
                )

    def _no_lost_update(self) -> None:
        journal = {
            ("hub" if row["side"] == "hub" else row["connection"], text(row["hub_id" if row["side"] == "hub" else "crm_id"]),
             row["field"], row["old_value"])
            for row in self.g.rows("select * from sync.change where kind = 'update'")
        }  # fmt: skip
        for row in self.g.rows(
            "select connection, hub_id, crm_id, field, hub_value, crm_value from review.conflict"
        ):
            journal.add(("hub", text(row["hub_id"]), row["field"], row["hub_value"]))
            journal.add((row["connection"], row["crm_id"], row["field"], row["crm_value"]))
        for key, value in [*self.diary.last.items(), *self.diary.replaced]:
            if (*key, value) in journal or (key, value) in self.diary.unseen:
                continue
            if key[0] == "hub" and self._went_with_its_row(key[1], key[2], value):
                continue  # whether or not somebody wrote over what came back
            replaced = (key, value) in self.diary.replaced or not self._is_current(key, value)
            if replaced and not self._was_unseen(key, value):
                raise Broken(Invariant.NO_LOST_UPDATE, f"lost without a trace: {key} was {value!r}")

    def _was_unseen(self, key: Key, value: str | None) -> bool:
        """Whether nobody could have seen it (beside what the diary knows)."""
        return False

    def _hub_was_asked(self) -> None:
        """The policy of phone numbers is manual: one of the hub that a CRM never had was replaced by that CRM's only if a
        person chose so. (An update without an answer that seems to have arrived counts as had.)"""
        for row in self.g.rows(
            "select connection, hub_id, crm_id, old_value, new_value, reason from sync.change j where side = 'hub'"
            " and kind = 'update' and entity = 'contact' and field = 'phone' and old_value is not null"
            " and crm_id is not null and reason not like 'force%%'"
            " and not exists (select from review.conflict c where c.connection = j.connection"
            " and c.hub_id = j.hub_id and c.field = 'phone' and c.decision = 'use_crm')"
            " and not exists (select from sync.change s where s.connection = j.connection and s.crm_id = j.crm_id"
            " and s.side = 'crm' and s.kind = 'update' and s.field = 'phone' and s.answer ? 'settled')"
        ):
            name, ours = str(row["connection"]), {"phone": row["old_value"]}
            had = self.g.ever(name, "Contact", str(row["crm_id"]), self.g.vendor["contact"]["phone"])
            if not any(self._same(name, "phone", ours, theirs) for theirs in had):
                raise Broken(
                    Invariant.NO_BLIND_OVERWRITE,
                    f"{name} never had what it replaced, and nobody was asked: {row}",
                )

    def _nothing_invented(self) -> None:
        """Whatever came from a CRM into the hub, or was disputed, somebody wrote there: never an echo of ours."""
        for row in self.g.rows(
            "select connection, crm_id, hub_id, field, new_value, reason from sync.change where side = 'hub' and kind = 'update' and reason not like 'force%%'"  # which is told to take anything
            " and crm_id is not null"  # a person's merge of two hub records fills blanks from the other one
        ):
            name, f, value = str(row["connection"]), str(row["field"]), text(row["new_value"])
            written = self.diary.written.get((name, str(row["crm_id"]), f), {None})
            if f == "city" and value is not None and value == value.upper():
                continue  # beta's own spelling of what we sent
            if row["reason"] != "changed in the CRM" and self._landed(name, str(row["crm_id"]), f, value):
                continue  # as of two changes: where it may be typed, a policy or a person may choose what landed late
            if not any(self._same(name, f, {f: value}, theirs) for theirs in written):
                raise Broken(
                    Invariant.NO_LOST_UPDATE,
                    f"nobody wrote {value!r} into {name} {row['crm_id']} {f}, but the hub took it",
                )
        for row in self.g.rows(
            "select connection, crm_id, field, crm_value, reason from review.conflict where field = 'phone'"
        ):
            key = (str(row["connection"]), str(row["crm_id"]), str(row["field"]))
            said = text(row["crm_value"])
            # A record that we made, and that lay in the recycle bin when we looked for it, may say what we sent as well.
            ours = self.diary.made if row["reason"] == LANDED_OR_TYPED else []
            if said not in self.diary.written.get(key, {None}) and not self._landed(*key, said, made=ours):
                raise Broken(
                    Invariant.CONFLICT_COMPLETENESS,
                    f"nobody wrote {row['crm_value']!r}, but it is disputed: {row}",
                )

    def _landed(
        self, name: str, crm_id: str, f: str, value: str | None, *, made: Sequence[tuple[str, Operation]] = ()
    ) -> bool:
        """Whether a write of ours that landed late, or one of these creates, has set this value, which somebody may as well
        have typed."""
        told = {theirs for key, theirs in self.diary.landed if key == (name, crm_id, f)}
        creates = [*self.diary.made_late, *made]
        for place, entity in self.g.streams if creates else ():
            if place == name and f in self.g.vendor[entity] and crm_id in self.g.mirror(name, entity):
                key = (name, self.g.accounts[name].row(OBJECTS[entity], crm_id).values.get("Hub_Id"))
                vendor = self.g.vendor[entity][f]
                told |= {create.values.get(vendor) for where, create in creates if (where, create.key) == key}
        return any(self._same(name, f, {f: value}, theirs) for theirs in told)

    def _is_current(self, key: Key, value: str | None) -> bool:
        side, record, f = key
        if side == "hub":
            rows = (self.g.hub(entity).get(record) for entity in self.g.system.entities)
            row = next((row for row in rows if row is not None), None)
            if row is None:
                return self._is_told(record, value)
            return text(row[f]) == value or self._went_with_its_row(record, f, value)
        entity = "contact" if f in self.g.vendor["contact"] else "company"
        object_name = "Lead" if record.startswith("Lead") else OBJECTS[entity]
        found = self.g.accounts[side].row(object_name, record)
        return found.deleted or found.values.get(self.g.vendor[entity][f]) == value

    def _went_with_its_row(self, hub_id: str, f: str, value: str | None) -> bool:
        """Whether the record was deleted when it said so, by an application or by us, whose journal keeps the row, and came
        back with what a CRM had of it. What that CRM had not been told of by then comes back as well: that is no excuse."""
        if hub_id in self.diary.hub_deleted and self.g.one(
            'select exists (select from sync.tombstone where hub_id = %s and "row" ->> %s is not distinct from %s)',
            hub_id, f, value,
        ):  # fmt: skip
            return True
        returns = self.g.rows(
            "select distinct r.connection, r.entity, r.crm_id from sync.change d join sync.change r"
            " on r.hub_id = d.hub_id and r.kind = 'restore' and r.id > d.id"
            " where d.hub_id = %s and d.side = 'hub' and d.kind = 'delete'"
            " and d.old_value::jsonb ->> %s is not distinct from %s",
            hub_id, f, value,
        )  # fmt: skip
        return any(self._heard(row, f, value) for row in returns)

    def _heard(self, returned: Mapping[str, object], f: str, value: str | None) -> bool:
        """Whether the record that this one came back from ever said so, if only in capitals, which is how beta spells a
        city. (A reference may have lost its target.)"""
        name, entity = str(returned["connection"]), str(returned["entity"])
        vendor = self.g.vendor[entity][f]
        had = self.g.ever(name, OBJECTS[entity], str(returned["crm_id"]), vendor)
        if f == "city" and value is not None:
            return value.upper() in {theirs.upper() for theirs in had if theirs is not None}
        return f == "company" or any(self._same(name, f, {f: value}, theirs) for theirs in had)

    def _is_told(self, hub_id: str, value: str | None) -> bool:
        """Whether a hub record that is gone was deleted by an application, or the journal keeps the value."""
        if hub_id in self.diary.hub_deleted or value is None:
            return True
        return bool(
            self.g.one(
                "select exists (select from sync.change where hub_id = %s and kind <> 'create'"
                " and (old_value = %s or strpos(old_value, to_json(%s::text)::text) > 0))",
                hub_id, value, value,
            )
        )  # fmt: skip


def _digits(value: str) -> str:
    return "".join(c for c in value if c.isdigit())[-10:]


QUIET_AFTER = timedelta(seconds=61)
