"""References to records that are not there yet: they are seen waiting, and go on by themselves."""

from dataclasses import replace

from crm_sync.core.errors import ErrorClass, RecordError
from crm_sync.hub import waiting
from crm_sync.hub.store import Store
from crm_sync.hub.waiting import Waiting
from crm_sync.steps.allowance import Share
from crm_sync.steps.verify import verify
from tests.steps.world import World


def found(world: World, name: str = "acme") -> list[Waiting]:
    """What waits in the contacts of a connection."""
    streams = {s.entity: s for s in world.system.connection(name).streams}
    return waiting.find(world.conn, streams["contact"], streams)


def later(world: World, *names: str, entities: tuple[str, ...] = (), **delta: float) -> None:
    for name in names or ("acme",):
        world.wait(**(delta or {"minutes": 30}))
        world.sync(name, *entities)


def quiet(world: World) -> None:
    """Nothing waits for something that is there, and nothing is left to explain (I13)."""
    for name in world.crms:
        assert found(world, name) == []
        with Store(world.url) as store:
            for stream in world.system.connection(name).streams:
                assert verify(store, world.crms[name], stream, Share(1000, 0, 1000, whole=True)).counts == {}
    assert world.one("select count(*) from sync.dirty") == 0


def test_a_contact_that_comes_days_before_its_company(world: World) -> None:
    """The CRM shows a reference to a company that it shows to us only days later (permission, or a late commit)."""
    acme = world.accounts["acme"]
    company = acme.person_create("Account", {"Name": "Late Ltd"})
    hidden = acme._versions["Account"].pop(company)
    contact = acme.person_create("Contact", {"LastName": "Ann", "AccountId": company})
    for _ in range(2):
        later(world)
    (one,) = found(world)
    assert replace(one, since=world.time) == Waiting(
        "company", "crm", "company", "not read from the CRM", 1, world.time, [company]
    )
    assert one.since == world.one("select linked_at from acme.contact_base where crm_id = %s", contact)
    later(world, days=3)
    assert len(found(world)) == 1
    acme._versions["Account"][company] = hidden
    acme.person_edit("Account", company, {"Website": "late.example"})
    later(world)
    assert world.one("select c.name from hub.contact h join hub.company c on c.id = h.company") == "Late Ltd"
    later(world)
    quiet(world)


def test_a_company_that_is_refused_keeps_its_contact_waiting_until_it_is_mended(world: World) -> None:
    """From the hub: the contact is created without its company, which follows when the company could be."""
    company = world.one("insert into hub.company (name) values ('Refused') returning id")
    world.conn.execute("insert into hub.contact (last_name, company) values ('Bo', %s)", [company])
    refusal = RecordError(ErrorClass.VALIDATION, "NOT_NICE", "not nice", ("Name",))
    world.crms["acme"].faults.reject[str(company)] = refusal
    for _ in range(2):
        later(world)
    (contact,) = world.accounts["acme"].rows("Contact")
    assert contact.values.get("AccountId") is None
    (one,) = found(world)
    assert (one.side, one.because, one.number, one.missing) == ("hub", "parked: NOT_NICE", 1, [str(company)])
    world.crms["acme"].faults.reject.clear()
    world.conn.execute("update hub.company set name = 'Nice' where id = %s", [company])
    later(world)
    later(world)
    (account,) = world.accounts["acme"].rows("Account")
    assert world.accounts["acme"].row("Contact", contact.id).values["AccountId"] == account.id
    quiet(world)


def test_a_company_that_comes_through_another_connection(two: World) -> None:
    """Beta knows the contact and its company; acme gets the contact first, for its companies are not synced for days."""
    beta = two.accounts["beta"]
    company = beta.person_create("Account", {"Name": "Both Ltd"})
    beta.person_create("Contact", {"LastName": "Cy", "Email": "cy@x.example", "AccountId": company})
    later(two, "beta")
    later(two, "acme", entities=("contact",))
    (one,) = found(two, "acme")
    assert (one.side, one.because) == ("hub", "not created yet")
    later(two, "acme", entities=("contact",), days=2)
    assert len(found(two, "acme")) == 1
    later(two, "acme")
    later(two, "acme")
    (contact,), (account,) = (two.accounts["acme"].rows(name) for name in ("Contact", "Account"))
    assert contact.values["AccountId"] == account.id
    for _ in range(2):
        later(two, "beta", "acme")
    quiet(two)


def test_a_parked_company_of_the_crm_is_told_and_requeued(world: World) -> None:
    """Two hub companies match: nobody is guessed, and the contact waits until a person has made it clear."""
    world.conn.execute("insert into hub.company (name) values ('Twice'), ('Twice')")
    acme = world.accounts["acme"]
    company = acme.person_create("Account", {"Name": "Twice"})
    acme.person_create("Contact", {"LastName": "Di", "AccountId": company})
    later(world)
    (one,) = found(world)
    assert (one.side, one.because, one.missing) == ("crm", "parked: AMBIGUOUS_MATCH", [company])
    world.conn.execute("delete from hub.company where id = (select max(id::text)::uuid from hub.company)")
    acme.person_edit("Account", company, {"Revenue": "1"})
    for _ in range(3):
        later(world)
    assert world.one("select c.name from hub.contact h join hub.company c on c.id = h.company") == "Twice"
    assert found(world) == []
