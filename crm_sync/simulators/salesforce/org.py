"""The simulated org: everything that one running simulator remembers."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import rsa

from crm_sync.simulators.fault_plan import Plan
from crm_sync.simulators.salesforce import objects
from crm_sync.simulators.salesforce.bulk_jobs import Jobs
from crm_sync.simulators.salesforce.clock import Clock
from crm_sync.simulators.salesforce.cursors import Cursors
from crm_sync.simulators.salesforce.locks import Locks
from crm_sync.simulators.salesforce.schema import Field
from crm_sync.simulators.salesforce.sessions import Session, Sessions
from crm_sync.simulators.salesforce.settings import Settings
from crm_sync.simulators.salesforce.soql_run import Runner
from crm_sync.simulators.salesforce.store import Actor, Store
from crm_sync.simulators.salesforce.usage import Usage
from crm_sync.simulators.salesforce.web import Call
from crm_sync.simulators.salesforce.writes import Writer, writer

ORG_ID = "00DSm000000OrgAMAS"
VERSIONS = tuple(range(50, 69))
LATEST = "68.0"


@dataclass(slots=True)
class Account:
    """How to log in: one app (connected app), one integration user."""

    client_id: str
    client_secret: str
    username: str
    password: str
    security_token: str
    private_key: rsa.RSAPrivateKey


@dataclass(slots=True)
class Org:
    """State of the org, wired together."""

    store: Store
    clock: Clock
    settings: Settings
    sessions: Sessions
    usage: Usage
    account: Account
    jobs: Jobs
    cursors: Cursors
    plan: Plan
    locks: Locks = field(default_factory=Locks)
    base_url: str = ""
    private_key_file: str = ""
    describe_changed: float = 0.0
    changed: dict[tuple[str, str], Field] = field(default_factory=dict)
    """Fields that a plan of faults has changed for a while, as they were, by object and name."""
    _remembered: list[Writer] | None = None

    def runner(self, session: Session, *, deleted_too: bool = False) -> Runner:
        """What runs queries as this session's user sees the org."""
        return Runner(self.store, self.sessions.masks(session), self.clock.today(), deleted_too)

    def writer(self, call: Call) -> Writer:
        """What writes as this session's user, in one transaction; headers of the call apply."""
        session = call.user
        options = call.headers.get("sforce-call-options", "")
        client = next(
            (p.split("=", 1)[1].strip() for p in options.split(",") if p.strip().startswith("client=")), ""
        )
        origin = f"com/salesforce/api/rest/{call.version};client={client or session.client}"
        allow = "allowsave=true" in call.headers.get("sforce-duplicate-rule-header", "").lower().replace(
            " ", ""
        )
        made = writer(
            self.store,
            self.settings,
            Actor(session.user_id, origin),
            self.locks,
            hidden=self.sessions.masks(session),
            allow_duplicates=allow,
            plan=self.plan,
        )
        bulk = "/jobs/" in call.path  # such a job would have to name its rule
        made.assigns = not bulk and call.headers.get("sforce-auto-assign", "true").lower() != "false"
        if self._remembered is not None:
            self._remembered.append(made)
        return made

    @contextmanager
    def remember_writers(self, made: list[Writer]) -> Iterator[None]:
        """Collect the writers used within the block, so that a composite call can take all back."""
        before, self._remembered = self._remembered, made
        try:
            yield
        finally:
            self._remembered = before


def build(plan: Plan | None = None) -> Org:
    """An empty org with fresh secrets."""
    settings = Settings()
    clock = Clock(settings)
    account = Account(
        client_id=f"3MVG9{secrets.token_urlsafe(40)}",
        client_secret=secrets.token_hex(32).upper(),
        username="integration@crm-sync.example",
        password=secrets.token_urlsafe(12),
        security_token=secrets.token_urlsafe(12),
        private_key=rsa.generate_private_key(public_exponent=65537, key_size=2048),
    )
    return Org(
        store=Store(objects.build(), clock),
        clock=clock,
        settings=settings,
        sessions=Sessions(ORG_ID, settings, clock.now),
        usage=Usage(settings, clock.now),
        account=account,
        jobs=Jobs(),
        cursors=Cursors(settings, clock.now),
        plan=plan or Plan(),
    )
