"""Another account behind a connection, or another database behind the hub, holds everything until a person speaks."""

from collections.abc import Callable

import pytest

from crm_sync.connectors.identity import Identity
from crm_sync.connectors.memory import MemoryCrm
from crm_sync.connectors.memory_account import MemoryAccount
from crm_sync.core.errors import HeldBackError
from crm_sync.hub import holds, identity
from crm_sync.hub.store import Store
from crm_sync.steps.hub import hub
from crm_sync.steps.options import Options
from tests.steps.world import World


class Told(MemoryCrm):
    """A memory CRM of a vendor that tells which account it is; `asked` counts the calls that takes."""

    def __init__(self, account: MemoryAccount, name: str, told: Identity) -> None:
        super().__init__(account, name=name)
        self.told = told
        self.asked = 0

    def identity(self, before: str | None = None) -> Identity | None:
        if before and before == self.told.login:
            return None
        self.asked += 1
        return self.told


@pytest.fixture
def tell(world: World) -> Callable[..., Told]:
    """Lets the connection reach this account, with records of its own if it is another one."""

    def to(account: str, login: str = "", *, same: bool = False) -> Told:
        records = world.accounts["acme"] if same else MemoryAccount(clock=lambda: world.time)
        world.crms["acme"] = crm = Told(records, "acme", Identity(account, login))
        return crm

    return to


def _open(world: World) -> holds.Hold:
    (hold,) = holds.find(world.conn, statuses=("open",))
    return hold


def test_a_refreshed_sandbox_holds_both_directions(world: World, tell: Callable[..., Told]) -> None:
    world.accounts["acme"].person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    tell("00D000000000001", same=True)
    world.sync()
    world.wait(minutes=5)
    refreshed = tell("00D000000000002")
    refreshed.account.person_create("Contact", {"LastName": "Other", "Email": "other@x.example"})
    world.conn.execute("update hub.contact set last_name = 'Li'")
    world.conn.execute("insert into hub.contact (last_name, email) values ('New', 'new@x.example')")
    with pytest.raises(
        HeldBackError, match="acme reaches account 00D000000000002, but was synced with 00D000000000001"
    ):
        world.sync()
    with pytest.raises(HeldBackError), Store(world.url) as store:
        hub(store, world.system.stream("acme", "contact"), Options())  # alone, too
    assert world.one("select count(*) from hub.contact") == 2
    assert world.one("select count(*) from acme.contact") == 1
    assert [row.values["LastName"] for row in refreshed.account.rows("Contact")] == ["Other"]
    hold = _open(world)
    assert (hold.stream, hold.side, hold.would) == (
        "acme",
        "both",
        {"was": "00D000000000001", "is": "00D000000000002"},
    )

    tell("00D000000000001", same=True)  # the old one again: nobody has to say anything
    world.sync()
    assert world.one("select status from sync.hold") == "withdrawn"
    assert world.one("select count(*) from hub.contact where last_name = 'Li'") == 1


def test_another_account_is_accepted_when_a_person_says_so(world: World, tell: Callable[..., Told]) -> None:
    tell("1", same=True)
    world.sync()
    other = tell("2", same=True)
    with pytest.raises(HeldBackError):
        world.sync()
    holds.confirm(world.conn, _open(world).id, "ann")
    world.sync()
    assert world.one("select status from sync.hold") == "done"
    other.told = Identity("3")
    with pytest.raises(HeldBackError, match="synced with 2"):  # that one, and no other
        world.sync()


def test_a_login_that_leads_to_one_account_is_asked_once(world: World, tell: Callable[..., Told]) -> None:
    crm = tell("4711", "login-a", same=True)
    for _ in range(3):
        world.sync()
    assert crm.asked == 1
    crm.told = Identity("4711", "login-b")  # a new token of the same account
    world.sync()
    world.sync()
    assert crm.asked == 2
    assert world.one("select count(*) from sync.hold") == 0


def test_a_dry_run_only_says_it(world: World, tell: Callable[..., Told]) -> None:
    tell("1", same=True)
    world.sync()
    tell("2", same=True)
    report = world.sync(dry_run=True)["inbound contact"]
    assert any("reaches account 2" in note for note in report.notes)
    assert world.one("select account from sync.identity where connection = 'acme'") == "1"
    assert world.one("select count(*) from sync.hold") == 0


def test_a_restored_hub_holds_everything(two: World) -> None:
    world = two
    world.sync("acme")
    world.sync("beta")
    here = world.one("select account from sync.identity where connection = '*'")
    assert here == identity.of_database(world.conn)
    world.conn.execute(  # what a dump holds that was made on another server
        "update sync.identity set account = '7123456789012345678/00000001' where connection = '*'"
    )
    world.conn.execute("insert into hub.contact (last_name, email) values ('New', 'new@x.example')")
    for name in ("acme", "beta"):
        with pytest.raises(
            HeldBackError, match="everything: held back, nothing was written: the hub's database is not"
        ):
            world.sync(name)
        assert not world.accounts[name].rows("Contact")
    holds.confirm(world.conn, _open(world).id, "ann")
    world.sync("acme")
    world.sync("beta")
    assert len(world.accounts["beta"].rows("Contact")) == 1
    assert world.one("select account from sync.identity where connection = '*'") == here


def test_a_role_that_may_not_ask_for_the_cluster_goes_on_by_the_timeline(world: World) -> None:
    world.conn.execute("revoke execute on function pg_control_system() from public")
    world.conn.execute("create role crm_sync_asking")
    try:
        world.conn.execute("set role crm_sync_asking")
        assert identity.of_database(world.conn).startswith("/0000")
    finally:
        world.conn.execute("reset role; drop role crm_sync_asking")
        world.conn.execute("grant execute on function pg_control_system() to public")
