"""Stories far away: the same people and processes, over HTTPS, with the faults of the simulators' plans on.

What strikes is not chosen by the story here, and nobody can look into a simulator at the moment of a write: the checks of
every step are fewer, those of the end the same.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.error import HTTPError

import psycopg

from crm_sync.core.errors import BusyError, CrmError
from crm_sync.hub import dirty
from crm_sync.steps.options import Options
from tests.machine.ground import NAMES
from tests.machine.oracle import Key, Oracle
from tests.machine.parts import Part, parts, step
from tests.machine.story import Story

WEIGHTS = {
    "hub_insert": 4, "hub_edit": 10, "hub_delete": 0.2, "hub_company": 1.5,
    "crm_create": 4, "crm_edit": 10, "crm_delete": 0.3, "crm_restore": 0.4, "crm_company": 1.5,
    "wait": 4, "dispute": 2, "sync": 8, "parts": 2, "full": 0.4, "force": 0.2, "capped": 0.5, "decide": 2,
    "midst": 2, "kill": 2, "both": 1,
}  # fmt: skip


class FarOracle(Oracle):
    """Looks at the simulators from outside."""

    def each_step(self) -> None:
        for name, entity in self.g.streams:
            self._mirror_only_goes_on(name, entity)

    def idle(self, before: Mapping[str, Mapping[str, int]], after: Mapping[str, Mapping[str, int]]) -> None:
        """Which calls an idle sync makes of a real connector, has tests of its own."""

    def _hub_was_asked(self) -> None:
        """What a record has ever said, a simulator does not keep."""

    def quiet(self, *, final: bool, bad: str | None = None) -> None:
        with self.g.looking():
            super().quiet(final=final, bad=bad)

    def _was_unseen(self, key: Key, value: str | None) -> bool:
        """Whether no answer of the CRM ever held it: overwritten between the look and the write, or by a write that took
        effect long after it was given up."""
        side, _, _ = key
        if side == "hub":
            return False
        seen = self.g.one("select exists (select from public.seen where connection = %s and value is not distinct from %s)",
                          side, value)  # fmt: skip
        if not seen:
            self.g.hit("overwritten unseen")
        return not seen


class FarStory(Story):
    """A story on a `FarGround`."""

    weights = WEIGHTS
    oracle_of = FarOracle

    @contextmanager
    def _watched(self) -> Iterator[None]:
        yield

    def do(self, name: str, number: int) -> None:
        try:
            super().do(name, number)
        except (
            HTTPError
        ) as error:  # a person is refused: the record is gone, or its address is somebody else's
            if error.code not in (400, 404, 409):
                raise
            self.g.hit("person refused")

    def run(self, todo: Sequence[Part], options: Options | None = None) -> None:
        options = options or Options()
        with self.g.store(dry_run=options.dry_run) as store:
            try:
                for part in todo:
                    step(self.g, store, part, options)
            except CrmError as error:
                self.g.hit(f"run ended: {error.error_class}")
            except BusyError:
                self.g.hit("busy")
            except psycopg.OperationalError:
                if not store.conn.closed:
                    raise

    def lose_answer(self, name: str, rng: random.Random) -> None:
        """Answers are lost by the plan."""

    def heal(self, name: str) -> None:
        """Nothing was laid out."""

    def end(self) -> None:
        """The faults end. What no page showed, only a full read tells."""
        self.g.calm()
        self._drain()
        for name in NAMES:
            self.run(parts(name), Options(full=True))
        self._drain()
        self.oracle.quiet(final=False)
        with self.g.store() as store:
            for stream in self.g.system.streams:
                dirty.mark_all(store.conn, stream)
        self._drain()
        self.oracle.quiet(final=True)
