"""The connectors of a run: built when first used, closed at its end.

Secrets stay in the environment until then; connection files and run configuration only hold their names.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import dagster as dg

from crm_sync.connectors import build
from crm_sync.connectors.crm import Crm
from crm_sync.core.spec import ConnectionSpec, System
from crm_sync.hub import embedded
from crm_sync.hub.answers import PostgresAnswerMemory
from crm_sync.hub.keys import token_keys
from crm_sync.hub.tokens import PostgresTokenStore
from crm_sync.settings import Settings

KEY = "connections"

Connect = Callable[[ConnectionSpec], Crm]


@dataclass(slots=True)
class Connections:
    """Connectors by the name of their connection."""

    system: System
    connect: Connect
    _open: dict[str, Crm] = field(default_factory=dict, init=False)

    def crm(self, name: str) -> Crm:
        """The connector; KeyError if there is no such connection, ConfigError if it cannot be built."""
        if name not in self._open:
            self._open[name] = self.connect(self.system.connection(name))
        return self._open[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for crm in self._open.values():
            crm.close()


def connections_resource(system: System, connect: Connect) -> dg.ResourceDefinition:
    """The resource over any way to connect; tests hand in CRMs in memory."""

    def open_connections(_: dg.InitResourceContext) -> Iterator[Connections]:
        with Connections(system, connect) as connections:
            yield connections

    return dg.ResourceDefinition(open_connections, description="The CRMs, one connector a connection.")


def from_settings(settings: Settings, env: Mapping[str, str] = os.environ) -> Connect:
    """Connect with the secrets in `env` and the tokens kept in Postgres."""

    def connect(spec: ConnectionSpec) -> Crm:
        url = embedded.database_url(settings)
        return build.connect(
            spec,
            env=env,
            tokens=PostgresTokenStore(url, token_keys(settings)),
            memory=PostgresAnswerMemory(url),
            ca_bundle=settings.ca_bundle,
            timeout=settings.http_timeout,
        )

    return connect
