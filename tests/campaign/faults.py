"""The campaign of faults: everything that the simulators can do wrong, while people edit on all sides.

The plans are benchmarks/faults/*.yaml. Syncs are repeated as a schedule would repeat them, two processes at a time, with
shortened waits. At the end the faults stop, syncs go on until they are quiet, and one reconcile of everything, as at
night, tries again what was parked. Then all sides are read back (proof.py).
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.campaign.ground import KINDS, Server, World, world
from tests.campaign.people import People
from tests.campaign.proof import WATCH, Findings, Proof

PLANS = Path(__file__).parents[2] / "benchmarks" / "faults"
FIRST = 6  # tries of a first sync
TAKEN_AWAY = 5.5  # seconds after which the plans give back what an administrator took away
PASSES = 60.0  # seconds that pass for the CRMs in a round, beside the real ones
JUMPS = 300.0  # seconds that a CRM's clock jumps ahead in all, by the plans
TIMEOUT = 4.0  # seconds that a child waits for an answer; the plans have answers that take longer


@dataclass(slots=True)
class Outcome:
    """hits and chances (requests or events that it could have struck) by fault; failures of syncs by class; what was
    found at the end."""

    hits: dict[str, int] = field(default_factory=dict)
    chances: dict[str, int] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    syncs: int = 0
    written: int = 0
    reconciled: int = 0
    end: Findings = field(default_factory=Findings)

    @property
    def wrong(self) -> list[str]:
        return self.end.wrong

    @property
    def never(self) -> list[str]:
        return [name for name, hits in self.hits.items() if hits == 0]

    def table(self) -> str:
        lines = [f"{hits:6d} of {self.chances[name]:6d}  {name}" for name, hits in self.hits.items()]
        failures = ", ".join(f"{count} {name}" for name, count in sorted(self.failures.items()))
        lines += [f"overwritten unseen: {story}" for story in self.end.unseen]
        lines += [f"never hit: {name}" for name in self.never]
        lines.append(
            f"{self.syncs} syncs (failed steps: {failures or 'none'}), {self.written} values written by people,"
            f" {self.end.compared} fields compared, {self.end.conflicts} open conflicts,"
            f" {len(self.end.unseen)} values overwritten unseen, {self.end.twins} people twice in Salesforce"
        )
        lines.append(
            f"the reconcile after the faults wrote {self.reconciled}; faults: {len(self.hits)}, never hit:"
            f" {len(self.never)}; wrong: {len(self.wrong)}"
        )
        return "\n".join(lines)


class Campaign:
    """records: contacts of each CRM; rounds: of edits and syncs at least; most: until every fault has struck."""

    def __init__(
        self,
        server: Server,
        *,
        seed: int,
        records: int,
        rounds: int,
        most: int,
        tell: Callable[[str], None],
    ) -> None:
        self.rounds = rounds
        self.most = most
        self.tell = tell
        self.plans = {kind: plan(kind, most) for kind in KINDS}
        # An import is read page by page, and everything in bulk; what an application changes is written in bulk.
        self.world: World = world(
            server,
            records,
            seed,
            bulk=records * 9 // 10,
            bulk_write=records // 5,
            settings={
                kind: {"clock_skew": found["settings"]["clock_skew"]} for kind, found in self.plans.items()
            },
        )
        self.people = People(self.world, random.Random(seed))
        self.outcome = Outcome()

    def run(self) -> Outcome:
        try:
            self._play()
            return self.outcome
        finally:
            self.world.close()

    def _play(self) -> None:
        begun = time.monotonic()
        with self.world.conn() as conn:
            conn.execute(WATCH)
        for kind in KINDS:
            self.world.simulators[kind].control("faults", self.plans[kind])
        self._first()
        for number in range(1, self.most + 1):
            with self.world.conn() as conn:
                self.people.work(conn, number)
            self._sync(full=number % 3 == 0)
            self.world.wait(PASSES)
            self._count_hits()
            never = self.outcome.never
            self.tell(
                f"round {number}: {self.outcome.syncs} syncs in {time.monotonic() - begun:.0f} s,"
                f" {len(never)} faults never hit yet: {never}"
            )
            if number >= self.rounds and not never:
                break
        self._stop()
        self.outcome.written = len(self.people.ledger)
        with self.world.conn() as conn:
            self.outcome.end = Proof(self.world, conn, self.people.ledger, self.people.new).read()

    def _stop(self) -> None:
        """The faults end, and after some syncs everything is quiet."""
        for kind in KINDS:
            self.world.simulators[kind].control("faults", [])
        time.sleep(TAKEN_AWAY)  # on the real clock
        self.world.wait(PASSES)
        self.world.until_quiet()
        reconcile = self.world.child(rounds=1, full=True, name="reconcile").result()
        assert reconcile.get("error") is None, reconcile
        self.outcome.reconciled = sum(reconcile["writes"])
        self.world.until_quiet()

    def _first(self) -> None:
        """Syncs until there is somebody to work with: faults may end all steps of one."""
        for _ in range(FIRST):
            self._sync()
            with self.world.conn() as conn:
                if len(self.people.cast.hub_ids(conn, "contact")) >= len(KINDS) * 5:
                    return
        raise AssertionError(f"nobody came in: {dict(self.outcome.failures)}")

    def _sync(self, *, full: bool = False) -> None:
        """Two runs at once, in processes of their own: they wait for each other's streams, and share the logins."""
        runs = [
            self.world.child(rounds=1, tolerant=True, full=full, name=f"sync{n}", timeout=TIMEOUT)
            for n in range(2)
        ]
        for run in runs:
            said = run.result()
            assert said, f"a run died: {run.log()}"
            assert said["error"] is None, said
            self.outcome.syncs += 1
            self.outcome.failures.update(said["failures"])

    def _count_hits(self) -> None:
        for kind in KINDS:
            told = self.world.simulators[kind].control("faults")
            rules = told["faults"] if isinstance(told, dict) else told
            self.outcome.hits |= {f"{kind}: {rule['name']}": rule["hits"] for rule in rules}
            self.outcome.chances |= {f"{kind}: {rule['name']}": rule["matched"] for rule in rules}


def plan(kind: str, most: int) -> dict[str, Any]:
    """A CRM's plan. A clock that is behind ours stays so, by as much as the plan says at least, until the end of `most`
    rounds, though time passes faster for the CRMs."""
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(PLANS / f"{kind}.yaml")
    settings = found["settings"]
    if settings["clock_skew"] < 0:
        settings["clock_skew"] -= (most + 1) * PASSES + JUMPS
    return found
