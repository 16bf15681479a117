"""The organisation's assignment rules: they do not take a lead away from who works on it because the sync corrects it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from crm_sync.connectors.build import Options
from crm_sync.connectors.crm import Operation
from crm_sync.connectors.http import TransportSettings
from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.connectors.salesforce.crm import connect
from crm_sync.core.spec import StreamSpec
from crm_sync.simulators.serve import Simulator, running
from tests.contract.kit import write
from tests.contract.salesforce import field

LEAD = StreamSpec(
    "salesforce", "salesforce", "lead", "Lead", (field("last_name", "LastName"), field("firm", "Company"))
)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running("salesforce", records=10) as found:
        yield found


@pytest.fixture
def queue(simulator: Simulator) -> str:
    """The user that a rule gives every lead to."""
    somebody = max(user["Id"] for user in simulator.control("records?object=User")["records"])
    rule = {"object": "Lead", "field": "OwnerId", "pattern": "^.+$", "replace": somebody}
    simulator.control("settings", {"assignment_rules": [rule]})
    return str(somebody)


@pytest.mark.parametrize("bulk", [False, True], ids=["by REST", "in bulk"])
@pytest.mark.parametrize("wanted", [False, True])
def test_rules_run_only_where_somebody_wants_them(simulator: Simulator, queue: str, wanted: bool, bulk: bool):
    owner = next(u["Id"] for u in simulator.control("records?object=User")["records"] if u["Id"] != queue)
    told = {"object": "Lead", "fields": {"LastName": "Lee", "Company": "Acme", "OwnerId": owner}}
    (there,) = simulator.control("edit", told)["ids"]
    auth = {"grant": "access_token", "access_token": simulator.info["access_token"]}
    more = {"assignment_rules": True} if wanted else {}
    options = {"host": simulator.base_url, "auth": auth, "bulk_write_above": 0 if bulk else 2000, **more}
    crm = connect(
        "salesforce",
        Options("salesforce.yaml", options),
        MemoryTokenStore(),
        TransportSettings(ca_bundle=Path(str(simulator.ca_file))),
    )
    new = Operation(str(uuid4()), "create", None, {"LastName": "Ray", "Company": "Acme"})
    with closing(crm):
        results = write(crm, LEAD, [Operation(str(uuid4()), "update", there, {"Company": "Acme Inc"}), new])
    owners = {lead["Id"]: lead["OwnerId"] for lead in simulator.control("records?object=Lead")["records"]}
    assert owners[there] == (queue if wanted and not bulk else owner)
    assert (owners[str(results[new.key].crm_id)] == queue) is wanted  # without an external id it goes by REST
