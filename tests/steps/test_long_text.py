"""A text as long as the longest field of a CRM reaches the hub, with the record that has it."""

from crm_sync.core.values import LENGTH_LIMIT
from tests.steps.world import World


def test_the_longest_text_of_salesforce_is_no_reason_to_keep_a_record_out(world: World) -> None:
    acme = world.accounts["acme"]
    texts = {
        "Lee": "x" * 40_000,
        "Ann": "é, " * 43_000,
        "Kim": "x" * (LENGTH_LIMIT - 4),
    }  # with the last name
    for name, text in texts.items():
        acme.person_create("Contact", {"LastName": name, "Email": f"{name}@x.example", "FirstName": text})
    world.wait(minutes=60)
    world.sync()
    found = {row["last_name"]: row["first_name"] for row in world.hub("contact", "last_name, first_name")}
    assert found == {name: text.strip() for name, text in texts.items()}
    assert world.conn.execute("select code, reason from sync.parked").fetchall() == []
