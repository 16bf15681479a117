"""References that a CRM lost because it deleted their target: nobody's edit, and sent again when the target is back."""

from collections.abc import Callable

import pytest

from crm_sync.hub import review
from tests.steps.world import CONNECTION, World

Make = Callable[..., World]


@pytest.fixture
def make(fresh_database_url: str) -> Make:
    made: list[World] = []

    def build(inbound: str, outbound: str, names: tuple[str, ...] = ("acme", "beta")) -> World:
        text = CONNECTION
        for object_name in ("Account", "Contact"):
            line = f"    object: {object_name}\n"
            text = text.replace(line, f"{line}    deletes: {{inbound: {inbound}, outbound: {outbound}}}\n")
        made.append(World(fresh_database_url, names, text))
        return made[-1]

    yield build  # type: ignore[misc]
    for world in made:
        world.close()


def _settle(world: World, rounds: int = 2) -> None:
    for _ in range(rounds):
        world.wait(minutes=20)
        for name in world.accounts:
            world.sync(name)


def _company(world: World) -> tuple[str, str]:
    """A company and its contact: their ids in acme."""
    acme = world.accounts["acme"]
    company = acme.person_create("Account", {"Name": "Big", "Website": "big.example"})
    contact = acme.person_create(
        "Contact", {"LastName": "Lee", "Email": "ann@x.example", "AccountId": company}
    )
    _settle(world)
    return company, contact


def _deleted(world: World, company: str, contact: str) -> None:
    """The company is deleted in acme, which clears what refers to it."""
    acme = world.accounts["acme"]
    acme.person_delete("Account", company)
    acme.person_edit("Contact", contact, {"AccountId": None, "FirstName": "Ann"})
    _settle(world)


def _of(world: World, name: str) -> tuple[str | None, str | None]:
    """The account of the one contact there, and the contact's first name."""
    (row,) = world.accounts[name].rows("Contact")
    return row.values["AccountId"], row.values.get("FirstName")


def _quiet(world: World) -> None:
    writes = {name: len(account.written) for name, account in world.accounts.items()}
    changes = world.one("select count(*) from sync.change")
    _settle(world, 1)
    assert {name: len(account.written) for name, account in world.accounts.items()} == writes
    assert world.one("select count(*) from sync.change") == changes
    assert world.one("select count(*) from sync.dirty") == 0


@pytest.mark.parametrize("inbound", ["archive", "propagate", "review"])
def test_what_one_crm_clears_with_a_deletion_is_cleared_nowhere_else(make: Make, inbound: str) -> None:
    world = make(inbound, "review")
    company, contact = _company(world)
    before, _ = _of(world, "beta")
    assert before is not None
    _deleted(world, company, contact)
    assert _of(world, "beta") == (before, "Ann")
    assert world.one("select count(*) from acme.contact_differences where field = 'company'") == 0
    kept = world.one("select company is not null from hub.contact")
    assert kept is (inbound != "propagate")
    _quiet(world)


@pytest.mark.parametrize("inbound", ["archive", "propagate"])
def test_the_reference_is_sent_again_when_its_target_is_back(make: Make, inbound: str) -> None:
    world = make(inbound, "review")
    company, contact = _company(world)
    before, _ = _of(world, "beta")
    _deleted(world, company, contact)
    world.accounts["acme"].person_restore("Account", company)  # it does not bring the reference back
    _settle(world)
    assert _of(world, "acme") == (company, "Ann")
    assert _of(world, "beta") == (before, "Ann")
    assert world.one("select company is not null from hub.contact") is True
    _quiet(world)


def test_a_return_before_anybody_decided_blanks_nothing(make: Make) -> None:
    world = make("review", "review")
    company, contact = _company(world)
    before, _ = _of(world, "beta")
    _deleted(world, company, contact)
    world.accounts["acme"].person_restore("Account", company)
    world.accounts["acme"].person_edit("Contact", contact, {"FirstName": "Anna"})
    _settle(world)
    assert _of(world, "beta") == (before, "Anna")
    assert world.one("select company is not null from hub.contact") is True
    _quiet(world)


def test_the_reference_is_sent_again_to_a_target_that_was_created_once_more(make: Make) -> None:
    world = make("review", "review")
    company, contact = _company(world)
    before, _ = _of(world, "beta")
    _deleted(world, company, contact)
    review.decide(world.conn, review.find(world.conn, field="*"), "use_hub", "ann")
    _settle(world)
    (again,) = world.accounts["acme"].rows("Account")
    assert again.id != company
    assert _of(world, "acme") == (again.id, "Ann")
    assert _of(world, "beta") == (before, "Ann")
    _quiet(world)


def test_what_either_side_says_meanwhile_counts(make: Make) -> None:
    world = make("archive", "review")
    company, contact = _company(world)
    _deleted(world, company, contact)
    acme = world.accounts["acme"]
    other = acme.person_create("Account", {"Name": "Other", "Website": "other.example"})
    acme.person_edit("Contact", contact, {"AccountId": other})
    _settle(world)
    at_beta, _ = _of(world, "beta")
    assert at_beta is not None
    assert world.accounts["beta"].row("Account", at_beta).values["Name"] == "Other"
    acme.person_edit("Contact", contact, {"AccountId": None})  # while its target is there: a blank
    _settle(world)
    assert _of(world, "beta") == (None, "Ann")
    assert world.one("select company from hub.contact") is None
    _quiet(world)


def test_a_reference_to_what_the_crm_has_deleted_is_not_sent(make: Make) -> None:
    world = make("ignore", "ignore", ("acme",))
    company, contact = _company(world)
    _deleted(world, company, contact)
    acme = world.accounts["acme"]
    world.conn.execute("insert into hub.contact (last_name, email) values ('Li', 'li@x.example')")
    _settle(world)
    world.conn.execute("update hub.contact set company = (select id from hub.company) where last_name = 'Li'")
    _settle(world)
    assert {row.values.get("AccountId") for row in acme.rows("Contact")} == {None}
    acme.person_restore("Account", company)
    _settle(world)
    assert {row.values.get("AccountId") for row in acme.rows("Contact")} == {company}
    _quiet(world)
