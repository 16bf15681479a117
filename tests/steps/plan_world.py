"""What the tests of plans share: a plan made, approved and applied in a small world."""

from collections.abc import Sequence

from crm_sync.connectors.crm import Crm
from crm_sync.core.approval import PlanRow
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import plan_rows, plans
from crm_sync.hub.plan_rows import Refused
from crm_sync.hub.plans import Plan
from crm_sync.hub.store import Store
from crm_sync.steps.apply import Applied, apply
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from crm_sync.steps.proposal import propose
from tests.steps.world import World


def crm_of(world: World, name: str) -> Crm:
    return world.crms[name]


def streams_of(world: World) -> list[StreamSpec]:
    return [stream for entity in world.system.entities for stream in world.system.of_entity(entity)]


def read(world: World) -> None:
    """Bring the mirrors up to date."""
    with Store(world.url) as store:
        for stream in streams_of(world):
            inbound(store, world.crms[stream.connection], stream, Options())


def planned(world: World) -> Plan:
    """A plan of what would be written now; there is something."""
    made = propose(world.url, streams_of(world), world.crms.__getitem__, origin="person", made_by="ann")
    assert made is not None
    return made


def nothing_planned(world: World) -> bool:
    return (
        propose(world.url, streams_of(world), world.crms.__getitem__, origin="person", made_by="ann") is None
    )


def rows(world: World, plan: Plan) -> list[PlanRow]:
    return list(plan_rows.read(world.conn, plan.id))


def applied(world: World, plan: Plan, run_id: str = "apply") -> Applied:
    """Approve (unless that is done) and apply."""
    if plan.status == "proposed":
        plans.decide(world.conn, plan.id, "approved", "ann")
    with Store(world.url, run_id=run_id) as store:
        return apply(store, world.system, world.crms.__getitem__, plan.id)


def refused(world: World, plan: Plan) -> list[Refused]:
    return plan_rows.refused(world.conn, plan.id, 100)


def settled(world: World) -> None:
    """Sync until nothing is left to do."""
    for _ in range(3):
        world.wait(minutes=30)
        for name in world.crms:
            world.sync(name)


def step(world: World, stream: StreamSpec, names: Sequence[str] = ("hub", "outbound")) -> None:
    """The ordinary steps of one stream."""
    with Store(world.url) as store:
        if "hub" in names:
            hub(store, stream, Options())
        if "outbound" in names:
            outbound(store, world.crms[stream.connection], stream, Options())
