"""What a side of a comparison is told: its database, the simulated account, and the one stream that joins them.

Plain data, so that it can be sent to another process. How a place comes about is in ground.py: a side does not import
that, and so has in its memory what a run needs.
"""

import ssl
from dataclasses import dataclass, replace

import psycopg

from crm_sync.connectors.build import connect
from crm_sync.connectors.crm import Crm
from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.core.quota import Quotas, Rate
from crm_sync.core.spec import StreamSpec, System
from crm_sync.hub.answers import PostgresAnswerMemory
from crm_sync.hub.budget import PostgresLimiter

HUBSPOT_VERSION = "2026-03"
SALESFORCE_VERSION = "62.0"


@dataclass(frozen=True, slots=True)
class Place:
    """One database and one simulated account. url: of the database. system: one connection, one stream. limits:
    whether the account has the vendor's rate limits."""

    vendor: str
    url: str
    system: System
    base_url: str
    ca_file: str
    token: str
    limits: bool

    @property
    def stream(self) -> StreamSpec:
        return self.system.streams[0]

    def crm(self) -> Crm:
        """A connector to the account, as a run of the product has it."""
        spec = self.system.connections[0]
        return connect(
            spec,
            env={},
            tokens=MemoryTokenStore(),
            memory=PostgresAnswerMemory(self.url),
            limiter=lambda quotas: PostgresLimiter(
                self.url, spec.name, quotas if self.limits else _without_rates(quotas), limits=spec.limits
            ),
        )

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    def connect(self) -> psycopg.Connection:
        """A plain connection that commits every statement."""
        return psycopg.connect(self.url, autocommit=True)


def _without_rates(quotas: Quotas) -> Quotas:
    """The limiter asks and books as ever, but nothing has to wait. (No header would tell it that of searches.)"""
    return replace(quotas, rates={name: Rate(10**6, rate.seconds) for name, rate in quotas.rates.items()})
