"""What HubSpot's writes are said to cost; that it is so is tested over the simulator (tests/cli/test_plan_command.py)."""

from crm_sync.connectors.crm import Operation
from crm_sync.connectors.hubspot import cost

COMPANY = "association:companies"


def update(n: int, **values: str | None) -> Operation:
    return Operation(str(n), "update", str(n), values, dict.fromkeys(values, "old"))


def test_batches_of_a_hundred_and_a_look_before_each_update() -> None:
    updates = [update(n, phone="1") for n in range(150)]
    creates = [Operation(str(n), "create", None, {"phone": "1"}) for n in range(1_000, 1_101)]
    deletes = [Operation("7", "delete", "7", {})]
    assert cost.calls([*updates, *creates, *deletes], looks=True) == {
        "batch_write": 2 + 2 + 1,
        "batch_read": 2,
    }
    assert cost.calls(updates, looks=False) == {"batch_write": 2}
    assert cost.calls([], looks=True) == {}


def test_associations_are_looked_at_read_added_and_removed() -> None:
    moved = Operation("1", "update", "1", {COMPANY: "22"}, {COMPANY: "11"})
    assert cost.calls([moved], looks=True) == {"batch_read": 1, "associations": 1 + 1 + 1 + 1}
    new = Operation("2", "create", None, {"phone": "1", COMPANY: "22"})
    assert cost.calls([new], looks=True) == {"batch_write": 1, "associations": 1}
