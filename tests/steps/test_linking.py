"""New CRM records enter the hub set-based; what cannot be told in SQL gives the same result as what can."""

from tests.steps.world import World


def test_a_reference_to_a_deleted_hub_record_waits(world: World) -> None:
    """The link was still there, so the reference was taken, refused by the foreign key, and the record parked."""
    acme = world.accounts["acme"]
    firm = acme.person_create("Account", {"Name": "Acme"})
    ann = acme.person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    world.sync()
    world.conn.execute("delete from hub.company")
    world.wait(minutes=1)
    acme.person_edit("Contact", ann, {"AccountId": firm})
    report = world.sync("acme", "contact")["hub contact acme"]
    assert (report.counts["waiting"], report.counts["parked"]) == (1, 0)


def test_odd_and_normal_values_of_one_chunk_mean_what_they_mean(world: World) -> None:
    acme = world.accounts["acme"]
    emails = ["ann@x.example", " BOB@X.example", "not an address", None, "eve@x.example\n"]
    for i, email in enumerate(emails):
        acme.person_create("Contact", {"LastName": f"L{i}", "Email": email, "Phone": "(415) 555-2671"})
    report = world.sync("acme", "contact")["hub contact acme"]
    found = {str(row["last_name"]): (row["email"], row["phone"]) for row in world.hub("contact")}
    phone = "+14155552671"
    assert found == {
        "L0": ("ann@x.example", phone),
        "L1": ("bob@x.example", phone),
        "L3": (None, phone),
        "L4": ("eve@x.example", phone),
    }
    assert (report.counts["created"], report.counts["parked"]) == (4, 1)


def test_a_match_agrees_where_both_sides_say_the_same(world: World) -> None:
    """Without a look at each field: agreed on what is equal, a difference for what is not."""
    world.conn.execute("insert into hub.contact (last_name, email) values ('Lee', 'lee@x.example')")
    world.accounts["acme"].person_create(
        "Contact", {"LastName": "Lee", "Email": "Lee@X.example", "Phone": "(415) 555-2671"}
    )
    report = world.sync("acme", "contact")["hub contact acme"]
    assert (report.counts["linked"], report.counts["updated"]) == (1, 1)
    agreed = "select last_name_agreed and email_agreed and phone_agreed from acme.contact_base"
    assert world.one(agreed) is True
    assert [row["phone"] for row in world.hub("contact")] == ["+14155552671"]
    assert world.one("select email_crm from acme.contact_base") == "Lee@X.example"
