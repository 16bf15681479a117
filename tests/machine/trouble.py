"""What goes wrong: time that passes, pages that come late, answers that never come, people in the middle of a run.

Each step is one kind of trouble, with what people do about it and the syncs that live through it.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg

from crm_sync.connectors.crm import Operation
from crm_sync.core.decide import Kind, Verdict
from crm_sync.core.errors import BusyError, CrmError, ErrorClass, RecordError
from crm_sync.hub import mirror
from crm_sync.steps.hinted import hinted
from crm_sync.steps.options import Options
from tests.machine.fragile import FragileStore, Killed
from tests.machine.ground import LONGEST_LAG, NAMES, OBJECTS
from tests.machine.oracle import Broken, Invariant
from tests.machine.parts import Part, parts, step
from tests.machine.people import People

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

_TROUBLES = (
    "before", "after", "after", "late", "read", "twice", "throttled", "token", "down", "end", "end",
    "write race", "write race", "hub race", "hub race", "read back",
)  # fmt: skip
_ACTS = (
    "hub_edit", "hub_edit", "hub_edit", "crm_edit", "crm_edit", "crm_edit", "hub_insert", "crm_create", "twin",
    "hub_delete", "crm_delete", "crm_restore", "hub_company", "crm_company", "decide", "dispute_now",
)  # fmt: skip
_ERRORS = (ErrorClass.VALIDATION, ErrorClass.TRANSIENT, ErrorClass.CONCURRENCY, ErrorClass.UNKNOWN_OUTCOME)


class Trouble(People):
    """Syncs, and what happens to them. Races wait for their moment; they say whether it was theirs."""

    race_in_write: Callable[[str, Operation], bool] | None = None
    race_in_hub: Callable[[Sequence[Verdict]], bool] | None = None

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
            self.run(parts(name))
            self._edit_in_hub(rng, hub_id)
            self.g.crms[name].faults.reject[hub_id] = RecordError(rng.choice(_ERRORS), "NO", "not now")
            self.run(parts(name))
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
        self.run(parts(name))

    def same_second(self, rng: random.Random) -> None:
        """Two people change one record within a second of the CRM's clock; somebody may look in between, and the second
        may do it in the hub, or both there and in the CRM. The CRM's listing may show the second change late, and the first as of the same moment.
        (beta has no such seconds: there it is the same millisecond.)"""
        name = rng.choice(("acme", "acme", "beta"))
        ids = [row.id for row in self.g.accounts[name].rows("Contact")]
        if not ids:
            return
        crm_id = rng.choice(ids)
        self.g.wait(-self.g.time.microsecond % 1_000_000 / 1_000_000)
        usual, self.g.lag[name] = self.g.lag[name], rng.choice((0, self.g.lag[name]))
        self._edit_in_crm(rng, name, crm_id)
        self.run(rng.choice(([], [("inbound", "contact", name)], parts(name))))
        if name == "acme":
            self.g.wait(rng.choice((0, 0.3)))
        self.g.lag[name] = rng.choice((usual, LONGEST_LAG))
        self.g.certain = True
        links = {str(base["crm_id"]): hub_id for hub_id, base in self.g.base(name, "contact").items()}
        hub_id = links.get(crm_id)
        there, who = not self.g.accounts[name].row("Contact", crm_id).deleted, rng.random()
        if hub_id in self.g.hub("contact") and there and who < 0.3:
            self._edit_on_both_sides(rng, name, str(hub_id), crm_id)
        elif hub_id in self.g.hub("contact") and who < 0.8:
            self._edit_in_hub(rng, str(hub_id))
        elif there:
            self._edit_in_crm(rng, name, crm_id)
        self.run(parts(name))
        self.g.lag[name], self.g.certain = usual, False
        self.g.wait(5)
        self.run(rng.choice(([], parts(name))))

    def contested(self, rng: random.Random) -> None:
        """A record is changed in a CRM, and in the hub at the very moment at which the hub learns of it."""
        name = rng.choice(NAMES)
        ids = [row.id for row in self.g.accounts[name].rows("Contact")]
        if ids:
            self._edit_in_crm(rng, name, rng.choice(ids))
            self.race_in_hub = lambda verdicts: self._race_in_hub(rng, verdicts)
            self.run(parts(name))
            self.race_in_hub = None

    def dispute(self, rng: random.Random) -> None:
        """The same field is changed on both sides before either hears of the other."""
        self.run(parts(self.dispute_now(rng)))

    def dispute_now(self, rng: random.Random) -> str:
        name = rng.choice(NAMES)
        links, hub_ids = self.g.base(name, "contact"), self.g.hub("contact")
        live = {row.id for row in self.g.accounts[name].rows("Contact")}
        known = [(h, str(b["crm_id"])) for h, b in links.items() if h in hub_ids and b["crm_id"] in live]
        if known:
            self._edit_on_both_sides(rng, name, *rng.choice(known))
        return name

    def _edit_on_both_sides(self, rng: random.Random, name: str, hub_id: str, crm_id: str) -> None:
        f = rng.choice(("phone", "phone", "first_name", "last_name", "city", "title"))
        self._hub_write("contact", hub_id, {f: self._value(rng, f, "hub")})
        self._crm_write(name, "contact", crm_id, {f: self._value(rng, f, name)})

    def lost(self, rng: random.Random) -> None:
        """A change is sent and its answer is lost; then the same field is changed again, here or there."""
        name = rng.choice(NAMES)
        ids = list(self.g.hub("contact"))
        if not ids:
            return
        hub_id, f = rng.choice(ids), rng.choice(("phone", "first_name", "last_name", "city", "title"))
        self.run(parts(name))
        self._hub_write("contact", hub_id, {f: self._value(rng, f, "hub")})
        self.g.crms[name].faults.timeout = rng.choice(("before", "after", "after"))
        self.run(parts(name))
        self.g.crms[name].faults.timeout = None
        crm_id = self.g.base(name, "contact").get(hub_id, {}).get("crm_id")
        if rng.random() < 0.5 or crm_id is None:
            self._hub_write("contact", hub_id, {f: self._value(rng, f, "hub")})
        elif not self.g.accounts[name].row("Contact", str(crm_id)).deleted:
            self._crm_write(name, "contact", str(crm_id), {f: self._value(rng, f, name)})

    def entered_twice(self, rng: random.Random) -> None:
        """A new person of the hub is sent to a CRM, and the answer is lost; before anybody looks, somebody enters the same
        person there."""
        name = rng.choice(NAMES)
        self.run(parts(name))
        here, there = self._person(rng, "hub"), self._person(rng, name)
        email = f"p{self.people}@x.example"
        self._hub_insert({**here, "email": email})
        self.g.crms[name].faults.timeout = rng.choice(("before", "before", "after"))
        self.run(parts(name))
        self.g.crms[name].faults.timeout = None
        self._crm_insert(name, {**there, "email": email})
        self.run(rng.choice(([("inbound", "contact", name), ("hub", "contact", name)], parts(name))))

    def clocks(self, rng: random.Random) -> None:
        """The systems' clocks differ from the start. (None ever goes back: not once a record has a stamp.)"""
        stamped = any(self.g.accounts[name].rows(o) for name in NAMES for o in OBJECTS.values())
        if not self.diary.born and not stamped:
            for name in NAMES:
                self.g.ahead[name] = rng.choice((-240.0, -2.5, 0.0, 2.5, 300.0))

    def hint(self, rng: random.Random) -> None:
        """The CRM tells of changes, twice and in any order, also of old ones."""
        name = rng.choice(NAMES)
        account = self.g.accounts[name]
        if rows := account.rows("Contact"):
            self._edit_in_crm(rng, name, rng.choice(rows).id)
            ids = [row.id for row in rng.choices(rows, k=rng.choice((1, 2, 6)))]
            self.g.conn.cursor().executemany(
                "insert into sync.inbox (connection, event_id, entity, crm_id, change) values (%s, %s, 'contact', %s, 'update')",
                [(name, f"{rng.random()}", crm_id) for crm_id in [*ids, ids[0]]],
            )
            self.g.hit("told twice")
        with self._process() as store:
            hinted(store, self.g.crms[name], self.g.system.stream(name, "contact"))
        self.run(rng.choice(([], parts(name))))

    def hide(self, rng: random.Random) -> None:
        """An administrator takes the permission for a field away, or gives it back; people still see it, and change it.
        (A title's blank is nothing that the hub takes, a first name's is.)"""
        name, f = rng.choice(NAMES), rng.choice(("title", "first_name"))
        account, vendor = self.g.accounts[name], self.g.vendor["contact"][f]
        if account.habits.hidden:
            account.habits.hidden = frozenset()
            return
        account.habits.hidden = frozenset({vendor})
        self.diary.hidden.add(vendor)
        if (ids := [row.id for row in account.rows("Contact")]) and rng.random() < 0.7:
            self._crm_write(name, "contact", rng.choice(ids), {f: self._value(rng, f, name)})
            self.run(rng.choice(([], parts(name))))

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
        with self._process() as store:
            for stream, page in pages:
                with store.transaction() as conn:
                    unsure = mirror.merge(conn, stream, page, unsure_from=LONG_AGO).unsure
                for looked_up in crm.by_ids(stream, unsure) if unsure else ():
                    with store.transaction() as conn:
                        mirror.merge(conn, stream, looked_up, looked_up=True)

    # Syncs -------------------------------------------------------------------------------------------------------

    def sync(self, rng: random.Random) -> None:
        self.run(parts(rng.choice(NAMES)))

    def full(self, rng: random.Random) -> None:
        self.run(parts(rng.choice(NAMES)), Options(full=True))

    def force(self, rng: random.Random) -> None:
        self.run(parts(rng.choice(NAMES)), Options(force=True))

    def capped(self, rng: random.Random) -> None:
        self.run(parts(rng.choice(NAMES)), Options(max_records=rng.choice((1, 2, 3))))

    def parts(self, rng: random.Random) -> None:
        """Any steps in any order, some twice, some not at all."""
        everything = [part for name in NAMES for part in parts(name)]
        self.run(rng.choices(everything, k=rng.randrange(1, 9)))

    def dry(self, rng: random.Random) -> None:
        tables = ("sync.dirty", "sync.change", "sync.watermark", "sync.history", "sync.intent", "sync.parked", "sync.provenance",
                  "review.conflict", "hub.contact", "hub.company", "acme.contact", "beta.contact", "acme.contact_base")  # fmt: skip
        before = [self.g.rows(f"select * from {table} order by 1, 2, 3") for table in tables], self.g.writes()
        self.run(parts(rng.choice(NAMES)), Options(dry_run=True))
        if before != (
            [self.g.rows(f"select * from {table} order by 1, 2, 3") for table in tables],
            self.g.writes(),
        ):
            raise Broken(Invariant.DRY_RUN, "a dry run left something behind")

    def trouble(self, rng: random.Random) -> None:
        """A sync during which something goes wrong."""
        name = rng.choice(NAMES)
        crm = self.g.crms[name]
        number = rng.randrange(1_000_000)
        match rng.choice(_TROUBLES):
            case "before":
                crm.faults.timeout = "before"
            case "after":
                crm.faults.timeout = "after"
            case "late":
                crm.postpone = self.g.postpone(name, rng.choice((0.5, 5, 60, 500)))
            case "read":
                crm.faults.read_error = CrmError(ErrorClass.TRANSIENT, "no answer")
            case "twice":
                crm.twice = True
            case "throttled":
                error = CrmError(ErrorClass.RATE_LIMIT, "too many calls", status=429, retry_after=1)
                crm.fails = rng.randrange(1, 9), "throttled", error
            case "token":
                error = CrmError(ErrorClass.AUTH, "the token has expired", status=401)
                crm.fails = rng.randrange(1, 9), "token expired", error
            case "down":
                crm.fails = (
                    rng.randrange(1, 9),
                    "call failed",
                    CrmError(ErrorClass.TRANSIENT, "down", status=503),
                )
            case "end":
                self.g.fuse.left = rng.randrange(1, 40)
            case "write race":
                self.race_in_write = lambda n, operation: self._race_in_write(
                    random.Random(number), n, operation
                )
            case "hub race":
                self.race_in_hub = lambda verdicts: self._race_in_hub(random.Random(number), verdicts)
            case "read back":
                crm.before_read_back = lambda ids: self._race_in_read_back(random.Random(number), name, ids)
        self.run(parts(name))
        crm.heal()
        self.race_in_write = self.race_in_hub = None

    def lose_answer(self, name: str, rng: random.Random) -> None:
        """The answer to the next write never comes."""
        self.g.crms[name].faults.timeout = rng.choice(("before", "after"))

    def heal(self, name: str) -> None:
        """What was laid out and did not strike, never will."""
        self.g.crms[name].heal()

    def midst(self, rng: random.Random) -> None:
        """Somebody does something between any two transactions or calls of a run."""
        number = rng.randrange(1_000_000)
        self.g.fuse.meanwhile = rng.randrange(1, 60), lambda: self.act(random.Random(number))
        self.run(parts(rng.choice(NAMES)))
        self.g.fuse.meanwhile = None

    def act(self, rng: random.Random) -> None:
        """Anything that somebody can do."""
        getattr(self, rng.choice(_ACTS))(rng)

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
            return self._not_waiting(
                lambda: self._hub_write("contact", hub_id, {f: self._value(rng, f, "hub")})
            )
        if looked_at and rng.random() < 0.3:
            hub_id = str(rng.choice(looked_at).difference.hub_id)
            return self._not_waiting(lambda: self._edit_in_hub(rng, hub_id))
        return False

    def _not_waiting(self, write: Callable[[], None]) -> bool:
        """An application's write within a transaction of ours, and whether it went through. Where it would have to wait for
        that one's locks, it cannot come first: both are told by one thread here, and would wait for each other."""
        try:
            with self.g.conn.transaction():
                self.g.conn.execute("set local lock_timeout = '20ms'")
                write()
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    def before_write(self, name: str, operation: Operation) -> None:
        self.g.lagging(name)
        raced = self.race_in_write is not None and self.race_in_write(name, operation)
        if raced:
            self.race_in_write = None
            self.g.hit("edit before a write")
        acts = self.g.fuse.acts  # people in the midst may have come after the look, too
        raced = raced or self.g.crms[name].looked.get(operation.crm_id or "", acts) < acts
        self.oracle.before_write(name, operation, raced=raced)

    @contextmanager
    def _process(self, *, dry_run: bool = False) -> Iterator[FragileStore]:
        """A process of its own that calls the CRMs. The one that was told that there are too many calls has ended; this one
        was not told, and comes later."""
        for crm in self.g.crms.values():
            crm.throttled = False
        with self.g.store(dry_run=dry_run) as store:
            yield store

    def run(self, todo: Sequence[Part], options: Options | None = None) -> None:
        """One process that runs these steps until it is done or something happens to it."""
        options = options or Options()
        for crm in self.g.crms.values():
            crm.read.clear()
            crm.looked.clear()
        with self._process(dry_run=options.dry_run) as store:
            try:
                for part in todo:
                    self.g.lagging(part[2])
                    step(self.g, store, part, options)
            except (CrmError, BusyError, Killed):
                pass
            except psycopg.OperationalError:
                if not store.conn.closed:
                    raise
