"""The campaign of kills: runs and the database die at random moments, are started again, die again, and in the end
everything must be as if nothing had happened.

A bout is one piece of work (the initial load of a new world, or edits in one that is linked) that is disturbed by a
chain of kills, then done to its end and compared with the same work undisturbed, on all sides and record by record.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.campaign import state
from tests.campaign.edits import SCENES, Cast
from tests.campaign.ground import Child, Server, World, world

VICTIMS = {"run": 6, "two runs": 2, "postgres": 2}
CHAIN = 4  # kills of one bout at most
START_UP = 0.8  # seconds until a child has come to its first statement, about
SHORTEST = 40  # places


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: in which work, of what, where the process was, and what it said if it could still speak."""

    number: int
    scene: str
    victim: str
    where: str
    said: str = ""

    def __str__(self) -> str:
        return f"{self.number:4d}  {self.scene:8s} {self.victim:9s} {self.where[:90]:90s} {self.said}"


@dataclass(slots=True)
class Outcome:
    """kills that hit, and what was wrong afterwards by bout; empty if every end state was the undisturbed one."""

    kills: list[Kill] = field(default_factory=list)
    bouts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def table(self) -> str:
        hits = Counter((kill.scene, kill.victim) for kill in self.kills)
        lines = [f"{'scene':10s}" + "".join(f"{victim:>10s}" for victim in VICTIMS) + f"{'bouts':>8s}"]
        for scene in sorted(self.bouts):
            lines.append(
                f"{scene:10s}"
                + "".join(f"{hits[scene, victim]:10d}" for victim in VICTIMS)
                + f"{self.bouts[scene]:8d}"
            )
        lines.append(f"kills: {len(self.kills)}, end states that differ: {len(self.wrong)}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Measure:
    """How long undisturbed work takes: places that it passes, and seconds."""

    places: int
    seconds: float


class Campaign:
    """Bouts until there were enough kills. records: contacts of each CRM in the linked worlds; initial: in those that
    are loaded anew; bulk: above how many records Salesforce is spoken to in bulk."""

    def __init__(
        self, server: Server, *, seed: int, records: int, initial: int, bulk: int, tell: Callable[[str], None]
    ) -> None:
        self.server = server
        self.rng = random.Random(seed)
        self.seed = seed
        self.records = records
        self.initial = initial
        self.bulk = bulk
        self.tell = tell
        self.outcome = Outcome()
        self._reference: tuple[state.State, Measure] | None = None
        self._round = 0

    def run(self, kills: int, scenes: tuple[str, ...] = ("initial", *SCENES)) -> Outcome:
        """As many kills as wanted, the scenes in turns."""
        with _pair(self) as pair:
            while len(self.outcome.kills) < kills and not self.outcome.wrong:
                for scene in scenes:
                    left = kills - len(self.outcome.kills)
                    if left <= 0:
                        break
                    self.outcome.bouts[scene] += 1
                    most = min(CHAIN, left)
                    wrong = self._load(most) if scene == "initial" else self._edit(pair, scene, most)
                    if wrong:
                        self.outcome.wrong.append(f"{scene}: " + "\n  ".join(wrong))
                        self.tell(f"DIFFERS after {scene}:\n  " + "\n  ".join(wrong))
        return self.outcome

    def _load(self, kills: int) -> list[str]:
        """The first sync of two CRMs that know nothing of each other."""
        if self._reference is None:
            with self._new(self.initial) as calm:
                self._reference = self._undisturbed(calm)
        expected, measure = self._reference
        with self._new(self.initial) as tormented:
            self._torment(tormented, "initial", kills, measure)
            return self._finish(tormented, expected)

    def _edit(self, pair: "Pair", scene: str, kills: int) -> list[str]:
        """The same edits in two worlds that are alike; one syncs in peace."""
        self._round += 1
        for cast in pair.casts:
            with cast.world.conn() as conn:
                SCENES[scene](cast, conn, self._round, random.Random(f"{self.seed} {self._round}"))
            cast.world.wait(5)
        tormented, calm = (cast.world for cast in pair.casts)
        expected, measure = self._undisturbed(calm)
        self._torment(tormented, scene, kills, measure)
        return self._finish(tormented, expected)

    @contextmanager
    def _new(self, records: int) -> Iterator[World]:
        made = world(self.server, records, self.seed, bulk=self.bulk)
        try:
            yield made
        finally:
            made.close()

    def _undisturbed(self, calm: World) -> tuple[state.State, Measure]:
        begun = time.monotonic()
        first = calm.child(rounds=1, name="calm").result()
        seconds = time.monotonic() - begun
        assert first.get("error") is None, first
        calm.until_quiet()
        return state.read(calm), Measure(first["places"], seconds)

    def _finish(self, tormented: World, expected: state.State) -> list[str]:
        tormented.until_quiet()
        found = state.read(tormented)
        return state.differences(found, expected)

    # Killing -----------------------------------------------------------------------------------------------------

    def _torment(self, tormented: World, scene: str, kills: int, measure: Measure) -> None:
        """Up to so many kills, one after the other, each of the run that goes on where the last one died."""
        for _ in range(kills):
            victim = self.rng.choices(list(VICTIMS), list(VICTIMS.values()))[0]
            hit = getattr(self, f"_kill_{victim.replace(' ', '_')}")(tormented, measure)
            if hit is None:  # done before its time came: there is nothing left to disturb
                return
            where, said = hit
            kill = Kill(len(self.outcome.kills) + 1, scene, victim, where, said)
            self.outcome.kills.append(kill)
            self.tell(str(kill))

    def _kill_run(self, tormented: World, measure: Measure) -> tuple[str, str] | None:
        child = self._doomed(tormented, measure, "run")
        return None if child is None else (child.told_where(), "")

    def _kill_two_runs(self, tormented: World, measure: Measure) -> tuple[str, str] | None:
        """A second run is started while the first is at work, and waits for its leases; both die."""
        one = tormented.child(rounds=1, name="one", die_at=self._place(measure))
        time.sleep(START_UP * self.rng.random())
        other = tormented.child(rounds=1, name="other", die_at=self._place(measure))
        for child in (one, other):
            _begun(child)
        deadline = time.monotonic() + START_UP + 2 * measure.seconds
        while time.monotonic() < deadline and (one.process.poll() is None or other.process.poll() is None):
            time.sleep(0.02)
        for child in (one, other):
            child.kill()
        ends = [child.result() for child in (one, other)]
        if all(ends):
            _no_error(ends, one)
            return None
        return " | ".join(child.told_where()[:60] for child in (one, other)), ""

    def _kill_postgres(self, tormented: World, measure: Measure) -> tuple[str, str] | None:
        child = tormented.child(rounds=1, name="run")
        at = self._place(measure)
        while child.process.poll() is None and child.where()[0] < at:
            time.sleep(0.005)
        if child.process.poll() is not None:
            _no_error([child.result()], child)
            return None
        where = child.told_where()
        self.server.kill()
        said = child.result()
        return where, f"the run: {said.get('kind') or 'went on'}"

    def _doomed(self, tormented: World, measure: Measure, name: str) -> Child | None:
        """A run that dies, at a place or at a time; None if it got away."""
        if self.rng.random() < 0.6:
            child = tormented.child(rounds=1, name=name, die_at=self._place(measure))
        else:
            child = tormented.child(rounds=1, name=name)
            _begun(child)
            time.sleep(self.rng.random() * max(measure.seconds - START_UP, 0.1))
            child.kill()
        said = child.result()
        if said:
            _no_error([said], child)
            return None
        return child

    def _place(self, measure: Measure) -> int:
        return self.rng.randint(SHORTEST // 4, max(SHORTEST, measure.places))


class Pair:
    """Two worlds that are alike, loaded and linked in peace: the first is tormented, the second is the measure."""

    def __init__(self, casts: tuple[Cast, Cast]) -> None:
        self.casts = casts


@contextmanager
def _pair(campaign: Campaign) -> Iterator[Pair]:
    worlds = [world(campaign.server, campaign.records, campaign.seed, bulk=campaign.bulk) for _ in range(2)]
    try:
        casts = [Cast(each) for each in worlds]
        for each in worlds:
            each.until_quiet()
        yield Pair((casts[0], casts[1]))
    finally:
        for each in worlds:
            each.close()


def _begun(child: Child) -> None:
    """Wait until Python has started and the child has come to its first statement: before that nothing can be hurt."""
    while child.process.poll() is None and not child.where()[0]:
        time.sleep(0.01)


def _no_error(ends: list[dict[str, Any]], child: Child) -> None:
    for said in ends:
        assert not said or said["error"] is None, f"{said}\n{child.log()}"
