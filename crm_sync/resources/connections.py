"""The connectors of a run: built when first used, closed at its end.

Secrets stay in the environment until then; connection files and run configuration only hold their names.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import dagster as dg
from dagster._core.storage.tags import BACKFILL_ID_TAG, SENSOR_NAME_TAG

from crm_sync.connectors import build
from crm_sync.connectors.crm import Crm
from crm_sync.core.quota import Priority
from crm_sync.core.spec import ConnectionSpec, System
from crm_sync.hub import embedded
from crm_sync.hub.answers import PostgresAnswerMemory
from crm_sync.hub.budget import PostgresLimiter
from crm_sync.hub.keys import token_keys
from crm_sync.hub.tokens import PostgresTokenStore
from crm_sync.resources.options import KEY as OPTIONS
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


def connections_resource(system: System, connect_for: Callable[[Priority], Connect]) -> dg.ResourceDefinition:
    """The resource over any way to connect; tests hand in CRMs in memory."""

    def open_connections(context: dg.InitResourceContext) -> Iterator[Connections]:
        with Connections(system, connect_for(priority_of(context.run))) as connections:
            yield connections

    return dg.ResourceDefinition(open_connections, description="The CRMs, one connector a connection.")


def priority_of(run: dg.DagsterRun | None) -> Priority:
    """How urgent a run is: backfills and full reads least, what a sensor asked for most."""
    if run is None:
        return Priority.SCHEDULED
    resources: Mapping[str, Any] = run.run_config.get("resources") or {}  # type: ignore[assignment]
    options = (resources.get(OPTIONS) or {}).get("config") or {}
    if BACKFILL_ID_TAG in run.tags or options.get("full"):
        return Priority.BACKFILL
    return Priority.LIVE if SENSOR_NAME_TAG in run.tags else Priority.SCHEDULED


def from_settings(
    settings: Settings, env: Mapping[str, str] = os.environ, priority: Priority = Priority.SCHEDULED
) -> Connect:
    """Connect with the secrets in `env`; tokens and limits are kept in Postgres."""

    def connect(spec: ConnectionSpec) -> Crm:
        url = embedded.database_url(settings)
        return build.connect(
            spec,
            env=env,
            tokens=PostgresTokenStore(url, token_keys(settings)),
            memory=PostgresAnswerMemory(url),
            limiter=lambda quotas: PostgresLimiter(
                url, spec.name, quotas, limits=spec.limits, priority=priority
            ),
            ca_bundle=settings.ca_bundle,
            timeout=settings.http_timeout,
        )

    return connect
