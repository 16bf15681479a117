"""Hub and memory CRMs whose deletions go by given policies, and what the tests ask of them."""

from collections.abc import Callable

from crm_sync.hub import review
from crm_sync.steps.options import Report
from tests.steps.world import CONNECTION, World

Make = Callable[..., World]


def text(inbound: str = "archive", outbound: str = "review", more: str = "") -> str:
    deletes = f"    deletes: {{inbound: {inbound}, outbound: {outbound}}}\n{more}"
    return CONNECTION.replace("    object: Account\n", "    object: Account\n" + deletes).replace(
        "    object: Contact\n", "    object: Contact\n" + deletes
    )


def ann(world: World, name: str = "acme", **values: str) -> str:
    """A contact that is linked and agreed on."""
    given = {"LastName": "Lee", "Email": "ann@x.example", **values}
    crm_id = world.accounts[name].person_create("Contact", given)
    settle(world)
    return crm_id


def settle(world: World, rounds: int = 1, **flags: object) -> dict[str, Report]:
    """Some minutes later everything is synced."""
    reports: dict[str, Report] = {}
    for _ in range(rounds):
        world.wait(minutes=20)
        for name in world.accounts:
            reports |= {f"{name} {key}": report for key, report in world.sync(name, **flags).items()}
    return reports


def states(world: World, name: str = "acme") -> tuple[str, str]:
    row = world.conn.execute(f"select hub_state, crm_state from {name}.contact_base").fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row


def quiet(world: World) -> None:
    """One more sync writes nothing, and nothing waits."""
    writes = {name: len(account.written) for name, account in world.accounts.items()}
    changes = world.one("select count(*) from sync.change")
    settle(world)
    assert {name: len(account.written) for name, account in world.accounts.items()} == writes
    assert world.one("select count(*) from sync.change") == changes
    assert world.one("select count(*) from sync.dirty") == 0


def decide(world: World, decision: str, *, status: str = "open") -> None:
    found = review.find(world.conn, field="*", status=status)
    assert found
    review.decide(world.conn, found, decision, "ann")  # type: ignore[arg-type]


def alive(world: World, name: str = "acme") -> list[str]:
    return [row.id for row in world.accounts[name].rows("Contact")]


def company_and_contact(world: World) -> tuple[str, str]:
    """A company and its contact: their ids in acme."""
    acme = world.accounts["acme"]
    company = acme.person_create("Account", {"Name": "Big", "Website": "big.example"})
    contact = acme.person_create(
        "Contact", {"LastName": "Lee", "Email": "ann@x.example", "AccountId": company}
    )
    settle(world, 2)
    return company, contact
