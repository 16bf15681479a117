"""A dry run lasts as long as the CRMs take, and applications go on writing meanwhile."""

from crm_sync.hub.store import Store
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from tests.steps.world import World


def test_an_application_writes_what_a_dry_run_would_take(world: World) -> None:
    account = world.accounts["acme"]
    taken = account.person_create(
        "Contact", {"LastName": "Lee", "FirstName": "Ann", "Email": "lee@x.example"}
    )
    account.person_create("Contact", {"LastName": "Roe", "Email": "roe@x.example"})
    world.sync()
    world.conn.execute("insert into hub.contact (last_name, email) values ('Doe', 'doe@x.example')")
    account.person_create("Contact", {"LastName": "Doe", "Email": "doe@x.example", "FirstName": "Jo"})
    account.person_edit("Contact", taken, {"LastName": "Li"})
    world.conn.execute("update hub.contact set last_name = 'Rowe' where email = 'roe@x.example'")
    world.wait(minutes=5)
    world.conn.execute("set lock_timeout = '10s'")
    stream, options, crm = world.system.stream("acme", "contact"), Options(dry_run=True), world.crms["acme"]
    with Store(world.url, dry_run=True) as store:
        inbound(store, crm, stream, options)
        planned = hub(store, stream, options)
        conflicts(store, stream)
        sent = outbound(store, crm, stream, options)
        # Taken, about to be sent, and matched just now; and it is the application that wins.
        assert world.conn.execute("update hub.contact set first_name = 'Eve', stage = 'won'").rowcount == 3
    assert {("last_name", "Li"), ("first_name", "Jo")} <= {(row.field, row.new) for row in planned.plan}
    assert (planned.counts["updated"], planned.counts["linked"]) == (2, 1)
    assert ("last_name", "Rowe") in {(row.field, row.new) for row in sent.plan}
    assert world.one("select count(*) from hub.contact where first_name = 'Eve' and last_name <> 'Li'") == 3
    world.wait(minutes=5)
    world.sync()
    assert world.one("select count(*) from hub.contact where last_name in ('Li', 'Rowe', 'Doe')") == 3
