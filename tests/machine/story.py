"""Stories: what people, applications, clocks and failures do to the systems, told by a seed.

A story is a list of steps, each a name and a number from which the step takes its own choices, so that steps can be
left out without changing the others: that is how a failing story is made short (`shrink`).
"""

import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

import crm_sync.steps.hub as hub_step
from crm_sync.connectors.crm import Operation
from crm_sync.core.decide import Kind, Verdict
from crm_sync.core.errors import BusyError, CrmError, ErrorClass, RecordError
from crm_sync.hub import dirty, mirror, review
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from tests.machine.ground import LONGEST_LAG, NAMES, OBJECTS, STAGES, VENDOR, FragileStore, Ground, Killed
from tests.machine.oracle import Broken, Diary, Oracle, text

Step = tuple[str, int]
Part = tuple[str, str, str]  # what, entity, connection

WEIGHTS = {
    "hub_insert": 4, "hub_edit": 8, "hub_delete": 0.3, "hub_company": 1.5,
    "crm_create": 4, "crm_edit": 8, "crm_delete": 0.5, "crm_restore": 0.5, "crm_company": 1.5, "twin": 0.7,
    "wait": 4, "lag": 1.5, "stall": 1, "late": 2.5, "same_second": 1.5, "refused": 1, "contested": 1, "dispute": 1, "lost": 1,
    "sync": 7, "trouble": 7, "parts": 2, "full": 0.3, "force": 0.3, "capped": 0.5, "dry": 0.3,
    "decide": 2, "hide": 0.3, "reject": 0.6, "accept": 0.4, "replay": 1,
}  # fmt: skip
ROUNDS = 10
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

_ERRORS = (ErrorClass.VALIDATION, ErrorClass.TRANSIENT, ErrorClass.CONCURRENCY, ErrorClass.UNKNOWN_OUTCOME)


def invent(seed: int, length: int) -> list[Step]:
    """The steps of the story of this seed."""
    rng = random.Random(seed)
    names = rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=length)
    return [(name, rng.randrange(1_000_000)) for name in names]


def parts(name: str) -> list[Part]:
    """The steps of one sync of a connection, in their order."""
    found: list[Part] = []
    for entity in OBJECTS:
        found.append(("inbound", entity, name))
        for each in NAMES:
            found += [("hub", entity, each), ("conflicts", entity, each)]
        found.append(("outbound", entity, name))
    return found


class Story:
    """One story on a ground. `play` raises Broken, or whatever the engine raised that it should not have."""

    def __init__(self, ground: Ground) -> None:
        ground.begin()
        self.g = ground
        self.diary = Diary()
        self.oracle = Oracle(ground, self.diary)
        self.people = 0
        # Races wait for their moment; they say whether it was theirs.
        self.race_in_write: Callable[[str, Operation], bool] | None = None
        self.race_in_hub: Callable[[Sequence[Verdict]], bool] | None = None

    def play(self, steps: Sequence[Step]) -> None:
        with self._watched():
            for name, number in steps:
                getattr(self, name)(random.Random(number))
                self.g.wait(0.4)
                self.oracle.each_step()
            self.end()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """The oracle looks at every write, and an application may get in between the hub step's look and its write."""
        decide_all = hub_step.decide_all

        def decided(*args: object, **flags: object) -> Iterator[Verdict]:
            verdicts = list(decide_all(*args, **flags))  # type: ignore[arg-type]
            if self.race_in_hub is not None and self.race_in_hub(verdicts):
                self.race_in_hub = None
            return iter(verdicts)

        for name, crm in self.g.crms.items():
            crm.faults.before_write = lambda operation, name=name: self._before_write(name, operation)
        hub_step.decide_all = decided  # type: ignore[assignment]
        try:
            yield
        finally:
            hub_step.decide_all = decide_all

    def _before_write(self, name: str, operation: Operation) -> None:
        self.g.lagging(name)
        if self.race_in_write is not None and self.race_in_write(name, operation):
            self.race_in_write = None
        self.oracle.before_write(name, operation)

    # People and applications -------------------------------------------------------------------------------------

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
        return rng.choice(pools[f])

    def _person(self, rng: random.Random, side: str) -> dict[str, str | None]:
        fields = [f for f in VENDOR["contact"] if f not in ("email", "full_name") and rng.random() < 0.5]
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

    def _crm_insert(self, name: str, values: dict[str, str | None]) -> None:
        vendor = {VENDOR["contact"][f]: value for f, value in values.items()}
        account = self.g.lagging(name)
        crm_id = account.person_create("Contact", vendor)
        for f in values:
            self.diary.wrote(
                (name, crm_id, f), None, account.row("Contact", crm_id).values[VENDOR["contact"][f]]
            )
        self.diary.born.setdefault(str(values["email"]), []).append(name)

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
            [f for f in VENDOR["contact"] if f not in ("email", "full_name")], rng.choice((1, 1, 2))
        )
        self._hub_write("contact", hub_id, {f: self._value(rng, f, "hub") for f in fields})

    def _hub_write(self, entity: str, hub_id: str, values: dict[str, str | None]) -> None:
        before = self.g.hub(entity)[hub_id]
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
            [f for f in VENDOR["contact"] if f not in ("email", "full_name")], rng.choice((1, 1, 2))
        )
        self._crm_write(name, "contact", crm_id, {f: self._value(rng, f, name) for f in fields})

    def _crm_write(self, name: str, entity: str, crm_id: str, values: dict[str, str | None]) -> None:
        account, object_name, vendor = self.g.lagging(name), OBJECTS[entity], VENDOR[entity]
        before = account.row(object_name, crm_id).values
        account.person_edit(object_name, crm_id, {vendor[f]: value for f, value in values.items()})
        after = account.row(object_name, crm_id).values
        for f in values:
            self.diary.wrote((name, crm_id, f), before.get(vendor[f]), after[vendor[f]])

    def hub_delete(self, rng: random.Random) -> None:
        rows = self.g.hub("contact")
        if rows:
            hub_id = rng.choice(list(rows))
            self.diary.gone.add(str(rows[hub_id]["email"]))
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
        name = rng.choice(NAMES)
        account = self.g.lagging(name)
        deleted = [
            row for versions in account._versions.get("Contact", {}).values() if (row := versions[-1]).deleted
        ]
        if deleted:
            account.person_restore("Contact", rng.choice(deleted).id)

    def decide(self, rng: random.Random) -> None:
        """A person decides a conflict, sometimes about values that change right after."""
        found = review.find(self.g.conn)
        if not found:
            return
        conflict = rng.choice(found)
        review.decide(self.g.conn, [conflict], rng.choice(("use_hub", "use_crm", "skip")), "mina")
        if rng.random() < 0.3:
            if rng.random() < 0.5:
                self._edit_in_crm(rng, conflict.connection, conflict.crm_id)
            elif str(conflict.hub_id) in self.g.hub(conflict.entity):
                self._edit_in_hub(rng, str(conflict.hub_id))

    # Time and trouble --------------------------------------------------------------------------------------------

    def wait(self, rng: random.Random) -> None:
        self.g.wait(rng.choice((0.2, 1, 5, 45, 120, 4000)))

    def lag(self, rng: random.Random) -> None:
        self.g.lag[rng.choice(NAMES)] = rng.choice((0, 0, 3, LONGEST_LAG))

    def stall(self, rng: random.Random) -> None:
        """The CRM's index shows nothing new for a while; people work on. (A stall within a stall ends no sooner: nothing
        new is shown while something older is not.)"""
        name = rng.choice(NAMES)
        until = self.g.time + timedelta(seconds=rng.choice((30, 600)))
        self.g.stalled_until[name] = max(self.g.stalled_until[name], until)
        if ids := [row.id for row in self.g.accounts[name].rows("Contact")]:
            self._edit_in_crm(rng, name, rng.choice(ids))
        self.g.wait(rng.choice((1, 130)))

    def refused(self, rng: random.Random) -> None:
        """A change is refused by the CRM, then accepted."""
        name = rng.choice(NAMES)
        if ids := list(self.g.hub("contact")):
            hub_id = rng.choice(ids)
            self._run(parts(name))
            self._edit_in_hub(rng, hub_id)
            self.g.crms[name].faults.reject[hub_id] = RecordError(rng.choice(_ERRORS), "NO", "not now")
            self._run(parts(name))
            self.g.crms[name].faults.reject.clear()

    def late(self, rng: random.Random) -> None:
        """One change shows up later than another that was made after it, and a sync happens in between."""
        name = rng.choice(NAMES)
        ids = [row.id for row in self.g.accounts[name].rows("Contact")]
        if len(ids) < 2:
            return
        first, second = rng.sample(ids, 2)
        usual, self.g.lag[name] = self.g.lag[name], LONGEST_LAG
        self.g.certain = True
        self._edit_in_crm(rng, name, first)
        self.g.lag[name] = 0
        self.g.wait(2)
        self._edit_in_crm(rng, name, second)
        self.g.lag[name], self.g.certain = usual, False
        self._run(parts(name))

    def same_second(self, rng: random.Random) -> None:
        """Two people change one record within a second of the CRM's clock; somebody may look in between, and the second
        may do it in the hub. The CRM's listing may show the second change late, and the first as of the same moment.
        (beta has no such seconds: there it is the same millisecond.)"""
        name = rng.choice(("acme", "acme", "beta"))
        ids = [row.id for row in self.g.accounts[name].rows("Contact")]
        if not ids:
            return
        crm_id = rng.choice(ids)
        self.g.wait(-self.g.time.microsecond % 1_000_000 / 1_000_000)
        usual, self.g.lag[name] = self.g.lag[name], rng.choice((0, self.g.lag[name]))
        self._edit_in_crm(rng, name, crm_id)
        self._run(rng.choice(([], [("inbound", "contact", name)], parts(name))))
        if name == "acme":
            self.g.wait(rng.choice((0, 0.3)))
        self.g.lag[name] = rng.choice((usual, LONGEST_LAG))
        self.g.certain = True
        links = {str(base["crm_id"]): hub_id for hub_id, base in self.g.base(name, "contact").items()}
        hub_id = links.get(crm_id)
        if hub_id in self.g.hub("contact") and rng.random() < 0.7:
            self._edit_in_hub(rng, str(hub_id))
        elif not self.g.accounts[name].row("Contact", crm_id).deleted:
            self._edit_in_crm(rng, name, crm_id)
        self._run(parts(name))
        self.g.lag[name], self.g.certain = usual, False
        self.g.wait(5)
        self._run(rng.choice(([], parts(name))))

    def contested(self, rng: random.Random) -> None:
        """A record is changed in a CRM, and in the hub at the very moment at which the hub learns of it."""
        name = rng.choice(NAMES)
        ids = [row.id for row in self.g.accounts[name].rows("Contact")]
        if ids:
            self._edit_in_crm(rng, name, rng.choice(ids))
            self.race_in_hub = lambda verdicts: self._race_in_hub(rng, verdicts)
            self._run(parts(name))
            self.race_in_hub = None

    def dispute(self, rng: random.Random) -> None:
        """The same field is changed on both sides before either hears of the other."""
        name = rng.choice(NAMES)
        links, hub_ids = self.g.base(name, "contact"), self.g.hub("contact")
        live = {row.id for row in self.g.accounts[name].rows("Contact")}
        known = [(h, str(b["crm_id"])) for h, b in links.items() if h in hub_ids and b["crm_id"] in live]
        if known:
            hub_id, crm_id = rng.choice(known)
            f = rng.choice(("phone", "phone", "first_name", "last_name", "city", "title"))
            self._hub_write("contact", hub_id, {f: self._value(rng, f, "hub")})
            self._crm_write(name, "contact", crm_id, {f: self._value(rng, f, name)})
            self._run(parts(name))

    def lost(self, rng: random.Random) -> None:
        """A change is sent and its answer is lost; then the same field is changed again, here or there."""
        name = rng.choice(NAMES)
        ids = list(self.g.hub("contact"))
        if not ids:
            return
        hub_id, f = rng.choice(ids), rng.choice(("phone", "first_name", "last_name", "city", "title"))
        self._run(parts(name))
        self._hub_write("contact", hub_id, {f: self._value(rng, f, "hub")})
        self.g.crms[name].faults.timeout = rng.choice(("before", "after", "after"))
        self._run(parts(name))
        self.g.crms[name].faults.timeout = None
        crm_id = self.g.base(name, "contact").get(hub_id, {}).get("crm_id")
        if rng.random() < 0.5 or crm_id is None:
            self._hub_write("contact", hub_id, {f: self._value(rng, f, "hub")})
        elif not self.g.accounts[name].row("Contact", str(crm_id)).deleted:
            self._crm_write(name, "contact", str(crm_id), {f: self._value(rng, f, name)})

    def hide(self, rng: random.Random) -> None:
        """An administrator takes the permission for a field away, or gives it back."""
        account = self.g.accounts[rng.choice(NAMES)]
        account.habits.hidden = frozenset() if account.habits.hidden else frozenset({"Title"})
        self.diary.hidden.add("Title")

    def reject(self, rng: random.Random) -> None:
        ids = list(self.g.hub("contact"))
        if ids:
            error = RecordError(rng.choice(_ERRORS), "NO", "the CRM does not like it")
            self.g.crms[rng.choice(NAMES)].faults.reject[rng.choice(ids)] = error

    def accept(self, _rng: random.Random) -> None:
        for crm in self.g.crms.values():
            crm.faults.reject.clear()

    def replay(self, rng: random.Random) -> None:
        """Pages of the last run come again, in any order. What they say of a moment of which the mirror says something
        else is asked about by id, as after a listing that lags."""
        crm = self.g.crms[rng.choice(NAMES)]
        pages = rng.sample(crm.read, len(crm.read))
        with self.g.store() as store:
            for stream, page in pages:
                with store.transaction() as conn:
                    unsure = mirror.merge(conn, stream, page, unsure_from=LONG_AGO).unsure
                for looked_up in crm.by_ids(stream, unsure) if unsure else ():
                    with store.transaction() as conn:
                        mirror.merge(conn, stream, looked_up, looked_up=True)

    # Syncs -------------------------------------------------------------------------------------------------------

    def sync(self, rng: random.Random) -> None:
        self._run(parts(rng.choice(NAMES)))

    def full(self, rng: random.Random) -> None:
        self._run(parts(rng.choice(NAMES)), Options(full=True))

    def force(self, rng: random.Random) -> None:
        self._run(parts(rng.choice(NAMES)), Options(force=True))

    def capped(self, rng: random.Random) -> None:
        self._run(parts(rng.choice(NAMES)), Options(max_records=rng.choice((1, 2, 3))))

    def parts(self, rng: random.Random) -> None:
        """Any steps in any order, some twice, some not at all."""
        everything = [part for name in NAMES for part in parts(name)]
        self._run(rng.choices(everything, k=rng.randrange(1, 9)))

    def dry(self, rng: random.Random) -> None:
        tables = ("sync.dirty", "sync.change", "sync.watermark", "sync.history", "sync.intent", "sync.parked", "sync.provenance",
                  "review.conflict", "hub.contact", "hub.company", "acme.contact", "beta.contact", "acme.contact_base")  # fmt: skip
        before = [self.g.rows(f"select * from {table} order by 1, 2, 3") for table in tables], self.g.writes()
        self._run(parts(rng.choice(NAMES)), Options(dry_run=True))
        if before != (
            [self.g.rows(f"select * from {table} order by 1, 2, 3") for table in tables],
            self.g.writes(),
        ):
            raise Broken("a dry run left something behind")

    def trouble(self, rng: random.Random) -> None:
        """A sync during which something goes wrong."""
        name = rng.choice(NAMES)
        crm = self.g.crms[name]
        number = rng.randrange(1_000_000)
        match rng.choice(
            (
                "before",
                "after",
                "after",
                "read",
                "kill",
                "kill",
                "write race",
                "write race",
                "hub race",
                "hub race",
                "read back",
            )
        ):
            case "before":
                crm.faults.timeout = "before"
            case "after":
                crm.faults.timeout = "after"
            case "read":
                crm.faults.read_error = CrmError(ErrorClass.TRANSIENT, "no answer")
            case "kill":
                self.g.fuse.left = rng.randrange(1, 40)
            case "write race":
                self.race_in_write = lambda n, operation: self._race_in_write(
                    random.Random(number), n, operation
                )
            case "hub race":
                self.race_in_hub = lambda verdicts: self._race_in_hub(random.Random(number), verdicts)
            case "read back":
                crm.before_read_back = lambda ids: self._race_in_read_back(random.Random(number), name, ids)
        self._run(parts(name))
        crm.before_read_back = None
        crm.faults.timeout = crm.faults.read_error = self.race_in_write = self.race_in_hub = None

    def _race_in_write(self, rng: random.Random, name: str, operation: Operation) -> bool:
        """While a record is being written, an application changes it in the hub, or a person in the CRM."""
        if rng.random() < 0.4 and operation.key in self.g.hub("contact"):
            self._edit_in_hub(rng, operation.key)
            return True
        if operation.crm_id is not None and operation.crm_id.startswith("Contact"):
            self._edit_in_crm(rng, name, operation.crm_id)
            return True
        return False

    def _race_in_read_back(self, rng: random.Random, name: str, ids: Sequence[str]) -> bool:
        """After a record was written, and before it is read back, a person changes it in the CRM."""
        contacts = [crm_id for crm_id in ids if crm_id.startswith("Contact")]
        if contacts:
            self._edit_in_crm(rng, name, rng.choice(contacts))
        return bool(contacts)

    def _race_in_hub(self, rng: random.Random, verdicts: Sequence[Verdict]) -> bool:
        """Between the hub step's look and its write, an application changes the record, best of all the same field."""
        known = self.g.hub("contact")  # what was made in the running transaction, nobody else can change
        looked_at = [v for v in verdicts if str(v.difference.hub_id) in known]
        takes = [
            v for v in looked_at if v.kind is Kind.TAKE and v.difference.field not in ("email", "full_name")
        ]
        if takes:
            d = rng.choice(takes).difference
            f, hub_id = rng.choice((d.field, "title")), str(d.hub_id)
            self._hub_write("contact", hub_id, {f: self._value(rng, f, "hub")})
        elif looked_at and rng.random() < 0.3:
            self._edit_in_hub(rng, str(rng.choice(looked_at).difference.hub_id))
        else:
            return False
        return True

    def _run(self, todo: Sequence[Part], options: Options | None = None) -> None:
        """One process that runs these steps until it is done or something happens to it."""
        options = options or Options()
        for crm in self.g.crms.values():
            crm.read.clear()
        with self.g.store(dry_run=options.dry_run) as store:
            try:
                for part in todo:
                    self._step(store, part, options)
            except (CrmError, BusyError, Killed):
                pass
            except psycopg.OperationalError:
                if not store.conn.closed:
                    raise

    def _step(self, store: FragileStore, part: Part, options: Options) -> None:
        what, entity, name = part
        stream, crm = self.g.system.stream(name, entity), self.g.crms[name]
        self.g.lagging(name)
        match what:
            case "inbound":
                inbound(store, crm, stream, options)
            case "hub":
                hub(store, stream, options)
            case "conflicts":
                conflicts(store, stream)
            case "outbound":
                outbound(store, crm, stream, options)

    # The end -----------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Everybody stops, nothing goes wrong any more: soon all must agree, and what was parked is tried again."""
        self.accept(random.Random())
        self.g.wait(700)
        for name in NAMES:
            self.g.lag[name] = 0
            self.g.accounts[name].habits.hidden = frozenset()
            if self.diary.hidden:  # what was not shown meanwhile, only a full read tells
                self._run(parts(name), Options(full=True))
        self._drain()
        self.oracle.quiet(final=False)
        with self.g.store() as store:
            for stream in self.g.system.streams:
                dirty.mark_all(store.conn, stream)
        self._drain()
        self.oracle.quiet(final=True)

    def _drain(self) -> None:
        for _ in range(ROUNDS):
            before = self._work()
            for name in NAMES:
                self._run(parts(name))
                self.oracle.each_step()
            self.g.wait(61)
            if self._work() == before:
                return
        raise Broken(
            f"not quiet after {ROUNDS} rounds: {self.g.rows('select * from sync.change order by id desc limit 6')}"
        )

    def _work(self) -> tuple[object, ...]:
        return (
            self.g.writes(),
            self.g.one("select count(*) from sync.change"),
            self.g.rows("select connection, entity, side, record_id from sync.dirty order by 1, 2, 3, 4"),
            self.g.rows("select id, status from review.conflict order by id"),
        )


def failure_of(ground: Ground, steps: Sequence[Step]) -> Exception | None:
    """What a story ends with, None if all is well."""
    try:
        Story(ground).play(steps)
    except Exception as failure:
        return failure
    return None


def kind(failure: Exception | None) -> tuple[str, ...]:
    """Failures of one kind: the same error at the same line of ours, whatever its records and values."""
    if failure is None:
        return ()
    here = str(Path(__file__).parents[2])
    ours = [f for f in traceback.extract_tb(failure.__traceback__) if f.filename.startswith(here)]
    where = ours[-1] if ours else None
    return (type(failure).__name__, f"{where.filename}:{where.lineno}" if where else "")


def shrink(steps: Sequence[Step], fails: Callable[[Sequence[Step]], bool]) -> list[Step]:
    """Fewer steps that still fail."""
    current = list(steps)
    size = max(1, len(current) // 2)
    while size:
        start = 0
        while start < len(current):
            shorter = current[:start] + current[start + size :]
            if fails(shorter):
                current = shorter
            else:
                start += size
        size //= 2
    return current
