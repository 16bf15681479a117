"""Processes of their own: killed at any statement and started again, two at once on the same streams, one that sleeps.

Here belong the steps of stories that need a second process; how such a process lives and dies is in `child.py`.
"""

import random
from collections.abc import Sequence

from tests.machine.child import Child, interleaved
from tests.machine.ground import NAMES, Ground
from tests.machine.life import Life
from tests.machine.parts import Part, parts

LAST_PLACE = 900
"""Statements and calls, before and after each: about what a sync with a few changes has."""


class Processes(Life):
    """Syncs in processes of their own."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._children: list[Child] = []

    def kill(self, rng: random.Random) -> None:
        """A sync is killed in the middle of its work, once or more often, and perhaps started again at once."""
        name = rng.choice(NAMES)
        for _ in range(rng.randrange(1, 4)):
            self.act(rng)
        if rng.random() < 0.3:  # what a process leaves behind that got no answer, its successor finds
            self.lose_answer(name, rng)
        for _ in range(rng.choice((1, 1, 2, 3))):
            child = self._child(parts(name), die_at=rng.randrange(1, LAST_PLACE))
            while child.serve():
                pass
            self.heal(name)
        self.run(rng.choice(([], parts(name))))

    def both(self, rng: random.Random) -> None:
        """Two processes sync at once, the same connection or one each, and either may be killed."""
        name = rng.choice(NAMES)
        for _ in range(rng.randrange(2, 5)):
            self.act(rng)
        children = [
            self._child(parts(each), stepwise=True) for each in (name, rng.choice((name, name, *NAMES)))
        ]
        self.g.hit("two processes")
        interleaved(children, rng, deaths=rng.choice((0, 0, 1, 2)))

    def asleep(self, rng: random.Random) -> None:
        """A process sleeps for hours between any two statements; others take over its work; then it wakes up."""
        name = rng.choice(NAMES)
        for _ in range(rng.randrange(1, 4)):
            self.act(rng)
        child = self._child(parts(name), stepwise=True)
        left, alive = rng.randrange(1, LAST_PLACE // 2), child.serve()
        about_to_send = rng.random() < 0.4  # the worst moment: what it sends is noted, the call not made
        while alive and (
            not self._intends() if about_to_send and left > -LAST_PLACE else left > 0 or not child.idle()
        ):
            child.go_on()
            left, alive = left - 1, child.serve()
        if not alive:
            return
        self.g.hit("process asleep")
        self.g.wait(rng.choice((60, 7200)))
        self.act(rng)
        self.run(parts(name))
        self.act(rng)
        # A call that was about to leave leaves now, as one that takes effect late: no lease can call it back.
        child.before_write = self.oracle.before_landing
        while alive:
            child.go_on()
            alive = child.serve()

    def _intends(self) -> bool:
        return bool(self.g.one("select exists (select from sync.intent)"))

    def leave(self) -> None:
        """A story that fails leaves no process behind."""
        for child in self._children:
            if not child.over:
                child.kill()

    def _child(self, todo: Sequence[Part], *, die_at: int | None = None, stepwise: bool = False) -> Child:
        self.g.lagging(todo[0][2])
        child = Child(self.g, todo, die_at=die_at, stepwise=stepwise, before_write=self.before_write)
        self._children = [*(each for each in self._children if not each.over), child]
        return child
