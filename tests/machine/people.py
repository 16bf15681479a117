"""What people and applications do, on all sides; everything they write is noted in the diary.

Each step takes its choices from its own random numbers. Here belongs what happens by somebody's will; not what goes
wrong (`trouble.py`), nor the end of records and what becomes of them (`life.py`).
"""

import random

from crm_sync.hub import review
from tests.machine.ground import NAMES, OBJECTS, STAGES, Ground
from tests.machine.oracle import Diary, Oracle, text


class People:
    """The people of a story, and the applications."""

    oracle_of = Oracle

    def __init__(self, ground: Ground) -> None:
        self.g = ground
        self.diary = Diary()
        self.oracle = self.oracle_of(ground, self.diary)
        self.people = 0

    def _value(self, rng: random.Random, f: str, side: str) -> str | None:
        self.people += 1
        pools: dict[str, list[str | None]] = {
            "first_name": [None, "Ann", "Bob", f"F{self.people}"],
            "last_name": [None, "Lee", "Kim", f"L{self.people}"],
            "phone": [None, "+14155550001", "+14155550002", f"+1415555{1000 + self.people % 9000:04d}"],
            "stage": [None, *(STAGES if side == "hub" else sorted(set(STAGES.values())))],
            "city": [None, "Bonn", "ROM", f"City {self.people}"],
            "title": [None, "Boss", "Dr", f"T{self.people}"],
        }  # fmt: skip
        if f == "company":
            ids: list[str] = (
                list(self.g.hub("company"))
                if side == "hub"
                else [r.id for r in self.g.accounts[side].rows("Account")]
            )
            return rng.choice([None, *ids])
        if f in ("phone", "stage") and rng.random() < 0.04:
            return "nonsense"
        return rng.choice(pools[f][1:] if f in self.g.required else pools[f])

    def _person(self, rng: random.Random, side: str) -> dict[str, str | None]:
        fields = [
            f
            for f in self.g.vendor["contact"]
            if f not in ("email", "full_name") and (f in self.g.required or rng.random() < 0.5)
        ]
        self.people += 1
        email = None if rng.random() < 0.3 else f"p{self.people}@x.example"  # without one, nothing matches
        return {"email": email, **{f: self._value(rng, f, side) for f in fields}}

    def _hub_insert(self, values: dict[str, str | None]) -> None:
        names = ", ".join(values)
        marks = ", ".join(["%s"] * len(values))
        hub_id = str(
            self.g.one(f"insert into hub.contact ({names}) values ({marks}) returning id", *values.values())
        )
        for f, value in values.items():
            self.diary.wrote(("hub", hub_id, f), None, value)
        self.diary.born.setdefault(str(values["email"]), []).append("hub")

    def _crm_insert(self, name: str, values: dict[str, str | None]) -> str:
        vendor = {self.g.vendor["contact"][f]: value for f, value in values.items()}
        account = self.g.lagging(name)
        crm_id = account.person_create("Contact", vendor)
        self.g.came_late(name)
        for f in values:
            self.diary.wrote(
                (name, crm_id, f), None, account.row("Contact", crm_id).values[self.g.vendor["contact"][f]]
            )
        self.diary.born.setdefault(str(values["email"]), []).append(name)
        return crm_id

    def hub_insert(self, rng: random.Random) -> None:
        self._hub_insert(self._person(rng, "hub"))

    def crm_create(self, rng: random.Random) -> None:
        name = rng.choice(NAMES)
        self._crm_insert(name, self._person(rng, name))

    def twin(self, rng: random.Random) -> None:
        """Somebody who is known somewhere is entered somewhere else."""
        known = [email for email in self.diary.born if email not in (*self.diary.gone, "None")]
        if not known:
            return
        email = rng.choice(known)
        side = rng.choice(("hub", *NAMES))
        values = {**self._person(rng, side), "email": email}
        if side == "hub":
            self._hub_insert(values)
        else:
            self._crm_insert(side, values)

    def hub_company(self, rng: random.Random) -> None:
        ids = list(self.g.hub("company"))
        self.people += 1
        if ids and rng.random() < 0.5:
            self._hub_write("company", rng.choice(ids), {"name": f"C{self.people}"})
        else:
            self.g.conn.execute("insert into hub.company (name) values (%s)", [f"C{self.people}"])

    def crm_company(self, rng: random.Random) -> None:
        name = rng.choice(NAMES)
        account = self.g.lagging(name)
        ids = [row.id for row in account.rows("Account")]
        self.people += 1
        if ids and rng.random() < 0.5:
            self._crm_write(name, "company", rng.choice(ids), {"name": f"C{self.people}"})
        else:
            account.person_create("Account", {"Name": f"C{self.people}"})

    def hub_edit(self, rng: random.Random) -> None:
        ids = list(self.g.hub("contact"))
        if ids:
            self._edit_in_hub(rng, rng.choice(ids))

    def _edit_in_hub(self, rng: random.Random, hub_id: str) -> None:
        fields = rng.sample(
            [f for f in self.g.vendor["contact"] if f not in ("email", "full_name")], rng.choice((1, 1, 2))
        )
        self._hub_write("contact", hub_id, {f: self._value(rng, f, "hub") for f in fields})

    def _hub_write(self, entity: str, hub_id: str, values: dict[str, str | None]) -> None:
        before = self.g.hub(entity).get(hub_id)
        if before is None:  # a sync in between has deleted it
            return
        assignments = ", ".join(f"{f} = %s" for f in values)
        self.g.conn.execute(
            f"update hub.{entity} set {assignments} where id = %s", [*values.values(), hub_id]
        )  # type: ignore[arg-type]
        for f, value in values.items():
            self.diary.wrote(("hub", hub_id, f), text(before[f]), value)

    def crm_edit(self, rng: random.Random) -> None:
        name = rng.choice(NAMES)
        ids = [row.id for row in self.g.accounts[name].rows("Contact")]
        if ids:
            self._edit_in_crm(rng, name, rng.choice(ids))

    def _edit_in_crm(self, rng: random.Random, name: str, crm_id: str) -> None:
        fields = rng.sample(
            [f for f in self.g.vendor["contact"] if f not in ("email", "full_name")], rng.choice((1, 1, 2))
        )
        self._crm_write(name, "contact", crm_id, {f: self._value(rng, f, name) for f in fields})

    def _crm_write(self, name: str, entity: str, crm_id: str, values: dict[str, str | None]) -> None:
        account, object_name, vendor = self.g.lagging(name), OBJECTS[entity], self.g.vendor[entity]
        there = account.row(object_name, crm_id)
        if there.deleted:  # nobody can change what lies in the recycle bin
            return
        before = there.values
        account.person_edit(object_name, crm_id, {vendor[f]: value for f, value in values.items()})
        self.g.came_late(name)
        after = account.row(object_name, crm_id).values
        missing = self._answers_missing(name, entity, crm_id)
        for f in values:
            self.diary.wrote(
                (name, crm_id, f), before.get(vendor[f]), after[vendor[f]], answer_missing=f in missing
            )

    def _answers_missing(self, name: str, entity: str, crm_id: str) -> set[str]:
        """The fields of a record that a write of ours, which has no answer yet, was to set."""
        found = self.g.rows(
            "select jsonb_object_keys(sent) as field from sync.intent where connection = %s and entity = %s"
            " and crm_id = %s and kind = 'update'", name, entity, crm_id,
        )  # fmt: skip
        return {str(row["field"]) for row in found}

    def hub_delete(self, rng: random.Random) -> None:
        rows = self.g.hub("contact")
        if rows:
            hub_id = rng.choice(list(rows))
            self.diary.gone.add(str(rows[hub_id]["email"]))
            self.diary.hub_deleted.add(hub_id)
            self.g.conn.execute("delete from hub.contact where id = %s", [hub_id])

    def crm_delete(self, rng: random.Random) -> None:
        name = rng.choice(NAMES)
        account = self.g.lagging(name)
        rows = account.rows("Contact")
        if rows:
            row = rng.choice(rows)
            self.diary.gone.add(str(row.values.get("Email")))
            account.person_delete("Contact", row.id)

    def crm_restore(self, rng: random.Random) -> None:
        """A person takes a record out of the recycle bin, even if another one was made in its place meanwhile."""
        name = rng.choice(NAMES)
        account = self.g.lagging(name)
        deleted = self.g.deleted(name)
        if deleted:
            back = rng.choice(deleted)
            hub_id = back.values.get("Hub_Id")
            replaced = any(row.values.get("Hub_Id") == hub_id for row in account.rows("Contact"))
            if replaced or self.g.fuse.store is not None:  # or a run has looked, and is about to make one
                self.diary.restored_beside.add((name, back.id))
            else:
                self.diary.restored_beside.discard((name, back.id))
            account.person_restore("Contact", back.id)

    def decide(self, rng: random.Random) -> None:
        """A person decides a conflict, sometimes about values that change right after."""
        found = review.find(self.g.conn)
        if not found:
            return
        conflict = rng.choice(found)
        review.decide(self.g.conn, [conflict], rng.choice(("use_hub", "use_crm", "skip")), "mina")
        if rng.random() < 0.3:
            there = self.g.accounts[conflict.connection].row(OBJECTS[conflict.entity], conflict.crm_id)
            if rng.random() < 0.5 and not there.deleted and conflict.entity == "contact":
                self._edit_in_crm(rng, conflict.connection, conflict.crm_id)
            elif str(conflict.hub_id) in self.g.hub(conflict.entity):
                self._edit_in_hub(rng, str(conflict.hub_id))
