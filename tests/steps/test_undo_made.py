"""Undo of records that were created in a CRM: whatever anybody may have put into one since keeps it there."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from crm_sync.connectors.crm import JobLog, Operation, Result
from crm_sync.connectors.memory import MemoryCrm
from crm_sync.core.errors import CrmError
from crm_sync.core.spec import StreamSpec
from crm_sync.hub.store import Store
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from crm_sync.steps.undo import Undo
from tests.steps.test_undo import records, rounds
from tests.steps.test_undo_deletions import EVER, Dying, alive, undone
from tests.steps.world import World


def _made(world: World) -> str:
    """A contact that a run created in acme, now by the clock of the journal; its id there."""
    world.time = datetime.now(UTC)
    world.conn.execute("insert into hub.contact (last_name, email) values ('Doe', 'd@x.example')")
    world.sync()
    world.sync()
    return alive(world)[-1]


def _age(world: World, **delta: float) -> None:
    """All that was done was done so long ago."""
    with world.conn.transaction():
        world.conn.execute("alter table sync.change disable trigger user")
        world.conn.execute("update sync.change set at = at - %s", [timedelta(**delta)])
        world.conn.execute("alter table sync.change enable trigger user")


def test_our_own_later_write_does_not_hide_an_edit_of_what_is_not_mapped(world: World) -> None:
    doe = _made(world)
    _age(world, days=2)
    world.accounts["acme"].person_edit("Contact", doe, {"Nickname": "years of notes"})
    world.sync()
    world.conn.execute("update hub.contact set phone = '+14155550001'")
    world.wait(seconds=5)
    world.sync()
    planned, applied, _ = undone(world, EVER, created=True)
    why = "written to since, so that nobody can tell who else did: delete it in acme by hand"
    assert records(planned) == {f"made not undone: {why}": 1}
    assert (applied.deleted_in_crms, alive(world)) == (0, [doe])


def test_what_was_done_before_a_lost_answer_was_found_is_not_hidden(world: World) -> None:
    world.conn.execute("insert into hub.contact (last_name) values ('Doe')")
    whole = world.crms["acme"]
    world.crms["acme"] = Dying(world.accounts["acme"], name="acme")
    with pytest.raises(CrmError, match="no answer"):
        world.sync()
    world.crms["acme"] = whole
    (doe,) = alive(world)
    world.wait(hours=6)
    world.accounts["acme"].person_edit("Contact", doe, {"Nickname": "written by hand at night"})
    world.time = datetime.now(UTC)
    rounds(world)
    planned, applied, _ = undone(world, EVER, created=True)
    (said,) = [why for why in records(planned) if why.startswith("made")]
    assert said.startswith("made not undone: its create was answered late or never")
    assert (applied.deleted_in_crms, alive(world)) == (0, [doe])


class Late(MemoryCrm):
    """Answers so late that somebody has written to the record by then."""

    world: World
    waits: timedelta

    def write(
        self,
        stream: StreamSpec,
        operations: Sequence[Operation],
        job: JobLog,
        *,
        batch_size: int | None = None,
    ) -> Iterator[list[Result]]:
        for results in super().write(stream, operations, job, batch_size=batch_size):
            with psycopg.connect(self.world.url, autocommit=True) as conn:
                conn.execute("update sync.intent set created_at = created_at - %s", [self.waits])
            self.world.time += timedelta(minutes=5)
            for result in results:
                self.world.accounts["acme"].person_edit(stream.object, result.crm_id or "", {"Nickname": "x"})
            yield results


@pytest.mark.parametrize(
    ("returns_values", "waits", "said"),
    [
        (True, timedelta(0), "made edited since: modified since in acme"),  # the stamp tells
        (False, timedelta(hours=3), "made not undone: its create was answered late or never"),
    ],
)
def test_an_edit_before_a_late_answer_is_not_hidden(
    world: World, returns_values: bool, waits: timedelta, said: str
) -> None:
    whole = world.crms["acme"]
    late = Late(world.accounts["acme"], name="acme")
    late.world, late.waits = world, waits
    late.knobs.returns_values = returns_values
    world.time = datetime.now(UTC) - timedelta(minutes=5)
    world.conn.execute("insert into hub.contact (last_name) values ('Doe')")
    world.crms["acme"] = late
    world.sync()
    world.crms["acme"] = whole
    planned, applied, _ = undone(world, EVER, created=True)
    assert [why for why in records(planned) if not why.startswith(said)] == []
    assert (applied.deleted_in_crms, len(alive(world))) == (0, 1)


def test_what_a_create_has_found_there_stays(world: World) -> None:
    doe = _made(world)
    world.conn.execute("delete from acme.contact_base")  # what the sync knew is lost
    world.conn.execute("delete from acme.contact")
    with Store(world.url, run_id="restored") as store:
        world.conn.execute("update hub.contact set first_name = 'Ann'")
        stream = world.system.stream("acme", "contact")
        outbound(store, world.crms["acme"], stream, Options())
    world.sync()
    rows = world.conn.execute("select answer -> 'created' from sync.change where kind = 'create' order by id")
    assert [row[0] for row in rows] == [True, False]
    planned, applied, _ = undone(world, "restored", created=True)
    assert records(planned) == {"made not undone: it was in acme before: the create has found it there": 1}
    assert (applied.deleted_in_crms, alive(world)) == (0, [doe])


def test_who_refers_to_it_is_read_before(world: World) -> None:
    world.time = datetime.now(UTC)
    world.conn.execute("insert into hub.company (name) values ('Firm'), ('Old')")
    world.sync()
    world.sync()
    firm, old = alive(world, object_name="Account")
    acme = world.accounts["acme"]
    acme.person_create("Contact", {"LastName": "Child", "AccountId": firm})
    with Store(world.url, dry_run=True) as store:
        planned = Undo(store, world.system, world.crms.__getitem__).plan(EVER, created=True)
    found = {"made undo": 1, "made not undone: other records in acme refer to it": 1}
    assert records(planned) == found
    with Store(world.url, run_id="undo") as store:
        work = Undo(store, world.system, world.crms.__getitem__)
        assert records(work.plan(EVER, created=True)) == found
        acme.person_create("Contact", {"LastName": "Late", "AccountId": old})  # while the person thinks
        world.wait(seconds=1)
        applied = work.apply(EVER, "mina")
    assert (applied.deleted_in_crms, alive(world, object_name="Account")) == (0, [firm, old])
