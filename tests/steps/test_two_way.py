"""The main job on a memory CRM: both directions, both vendors' habits, nothing written twice."""

from tests.steps.world import World


def test_a_record_of_the_crm_arrives_in_the_hub(world: World) -> None:
    acme = world.accounts["acme"]
    company = acme.person_create(
        "Account", {"Name": "Acme", "Website": "https://acme.example", "Revenue": "10.50"}
    )
    acme.person_create("Contact", {"FirstName": "Ann", "LastName": "O'Brien", "Email": "Ann@Acme.example", "Phone": "(415) 555-2671",
                       "Stage": "Appointment", "Interests": "b;a", "Born": "2000-02-29", "NextCall": "2026-03-29T01:30:00Z",
                       "OptedOut": "true", "AccountId": company})  # fmt: skip
    reports = world.sync()
    (contact,) = world.hub("contact")
    assert contact["email"] == "ann@acme.example"
    assert contact["phone"] == "+14155552671"
    assert contact["stage"] == "tour"
    assert contact["interests"] == ["a", "b"]
    assert contact["company"] == world.one("select id from hub.company")
    assert reports["outbound contact"].counts["updated"] == 1  # the computed full name
    world.wait(minutes=5)
    before = world.writes()
    again = world.sync()
    assert world.writes() == before
    assert again["hub contact acme"].counts["updated"] == 0
    assert world.one("select count(*) from sync.dirty") == 0
    assert world.one("select count(*) from sync.intent") == 0


def test_a_record_of_the_hub_arrives_in_the_crm(world: World) -> None:
    world.conn.execute("insert into hub.company (name, revenue) values ('Hubbers', 12.3)")
    world.conn.execute("insert into hub.contact (last_name, email, phone, company, stage) select 'Doe', 'doe@x.example',"
                       " '+14155552671', id, 'qualified' from hub.company")  # fmt: skip
    world.sync()
    (row,) = world.accounts["acme"].rows("Contact")
    (company,) = world.accounts["acme"].rows("Account")
    assert row.values["Stage"] == "Appointment"
    assert row.values["AccountId"] == company.id
    assert row.values["FullName"] == "Doe"
    before = world.writes()
    world.wait(minutes=5)
    world.sync()
    assert world.writes() == before
    assert world.one("select stage from hub.contact") == "qualified"
    assert world.one("select count(*) from sync.dirty") == 0


def test_an_edit_travels_either_way(world: World) -> None:
    acme = world.accounts["acme"]
    ann = acme.person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    world.sync()
    world.wait(minutes=5)
    acme.person_edit("Contact", ann, {"FirstName": "Bruce"})
    world.conn.execute("update hub.contact set last_name = 'Li', phone = '+49 30 901820'")
    world.wait(minutes=1)
    reports = world.sync()
    assert world.one("select first_name from hub.contact") == "Bruce"
    row = acme.rows("Contact")[0]
    assert (row.values["LastName"], row.values["FullName"]) == ("Li", "Bruce Li")
    assert reports["outbound contact"].counts["updated"] == 1
    assert world.one("select count(*) from sync.dirty") == 0
