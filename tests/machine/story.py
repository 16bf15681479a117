"""Stories: what people, applications, clocks and failures do to the systems, told by a seed.

A story is a list of steps, each a name and a number from which the step takes its own choices, so that steps can be
left out without changing the others: that is how a failing story is made short (`shrink`). The steps themselves are in
`people`, `trouble` and `processes`; here is how a story is invented, played, ended and made short.
"""

import random
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import crm_sync.steps.hub as hub_step
from crm_sync.core.decide import Verdict
from crm_sync.core.errors import ErrorClass, RecordError
from crm_sync.hub import dirty
from tests.machine.ground import NAMES, Ground
from tests.machine.oracle import Broken, Invariant
from tests.machine.parts import parts
from tests.machine.processes import Processes

Step = tuple[str, int]

WEIGHTS = {
    "hub_insert": 4, "hub_edit": 8, "hub_delete": 0.5, "hub_archive": 0.3, "hub_company": 1.5,
    "crm_create": 4, "crm_edit": 8, "crm_delete": 1, "crm_restore": 1, "crm_merge": 0.6, "settle_merge": 0.5, "lead": 1, "convert": 0.6, "crm_company": 1.5, "twin": 0.7,
    "wait": 4, "lag": 1.5, "stall": 1, "late": 2.5, "same_second": 1.5, "refused": 1, "contested": 1, "dispute": 1, "lost": 1, "entered_twice": 0.7,
    "sync": 7, "trouble": 7, "parts": 2, "full": 0.3, "force": 0.3, "capped": 0.5, "dry": 0.3, "clocks": 0.3, "hint": 1,
    "decide": 2, "hide": 0.8, "reject": 0.6, "accept": 0.4, "replay": 1, "midst": 2,
    "kill": 1.3, "both": 0.7, "asleep": 0.5,
}  # fmt: skip
ROUNDS = 10


def invent(seed: int, length: int, weights: Mapping[str, float] = WEIGHTS) -> list[Step]:
    """The steps of the story of this seed."""
    rng = random.Random(seed)
    names = rng.choices(list(weights), list(weights.values()), k=length)
    return [(name, rng.randrange(1_000_000)) for name in names]


class Story(Processes):
    """One story on a ground. `play` raises Broken, or whatever the engine raised that it should not have."""

    weights: Mapping[str, float] = WEIGHTS

    def __init__(self, ground: Ground) -> None:
        ground.begin()
        super().__init__(ground)

    def play(self, steps: Sequence[Step]) -> None:
        try:
            with self._watched(), self.g.clocks():
                for name, number in steps:
                    self.do(name, number)
                    self.g.wait(0.4)
                    self.oracle.each_step()
                self.end()
        finally:
            self.leave()

    def do(self, name: str, number: int) -> None:
        """One step."""
        getattr(self, name)(random.Random(number))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """The oracle looks at every write, and an application may get in between the hub step's look and its write."""
        decide_all = hub_step.decide_all

        def decided(*args: object, **flags: object) -> Iterator[Verdict]:
            verdicts = list(decide_all(*args, **flags))  # type: ignore[arg-type]
            if self.race_in_hub is not None and self.race_in_hub(verdicts):
                self.race_in_hub = None
                self.g.hit("edit before a take")
            return iter(verdicts)

        for name, crm in self.g.crms.items():
            crm.faults.before_write = lambda operation, name=name: self.before_write(name, operation)
        self.g.before_landing = self.oracle.before_landing  # type: ignore[method-assign]
        hub_step.decide_all = decided  # type: ignore[assignment]
        try:
            yield
        finally:
            hub_step.decide_all = decide_all

    # The end -----------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Everybody stops, nothing goes wrong any more: soon all must agree. Then everything is looked at again, also what
        was parked, while the CRMs refuse one record: it must not be in the way of the others."""
        self.accept(random.Random())
        self.g.calm()
        self._drain()
        self.oracle.quiet(final=False)
        bad = self._refuse_one()
        with self.g.store() as store:
            for stream in self.g.system.streams:
                dirty.mark_all(store.conn, stream)
        self._drain()
        self.oracle.quiet(final=True, bad=bad)

    def _refuse_one(self) -> str | None:
        """Some records change in the hub; the CRMs refuse one of them."""
        ids = list(self.g.hub("contact"))[:3]
        for hub_id in ids:
            self.people += 1
            self._hub_write("contact", hub_id, {"first_name": f"F{self.people}"})
        if ids:
            for crm in self.g.crms.values():
                crm.faults.reject[ids[0]] = RecordError(
                    ErrorClass.VALIDATION, "NO", "the CRM does not like it"
                )
        return ids[0] if ids else None

    def _drain(self) -> None:
        for _ in range(ROUNDS):
            before, calls = self._work(), self.g.calls()
            for name in NAMES:
                self.run(parts(name))
                self.oracle.each_step()
            self.g.wait(61)
            if self._work() == before:
                self.oracle.idle(calls, self.g.calls())
                return
        raise Broken(
            Invariant.QUIESCENCE,
            f"not quiet after {ROUNDS} rounds: {self.g.rows('select * from sync.change order by id desc limit 6')}",
        )

    def _work(self) -> tuple[object, ...]:
        return (
            self.g.writes(),
            self.g.one("select count(*) from sync.change"),
            self.g.rows("select connection, entity, side, record_id from sync.dirty order by 1, 2, 3, 4"),
            self.g.rows("select id, status from review.conflict order by id"),
        )


def failure_of(ground: Ground, steps: Sequence[Step], story: type[Story] = Story) -> Exception | None:
    """What a story ends with, None if all is well."""
    try:
        story(ground).play(steps)
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
