"""What every command works on: the settings, the connection files, the database, the connectors.

Here is no output and no argument. Opening anything may raise SettingError, SyncError or EmbeddedError; `cli.main`
says them in one sentence.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from crm_sync.connectors.catalogue import of_system
from crm_sync.connectors.crm import Crm
from crm_sync.core.errors import SyncError
from crm_sync.core.spec import ConnectionSpec, StreamSpec, System
from crm_sync.hub import embedded
from crm_sync.hub.prepare import prepare
from crm_sync.mapping.load import load
from crm_sync.settings import Settings


@dataclass(frozen=True, slots=True)
class Workspace:
    """The settings of this process and the system that the connection files describe."""

    settings: Settings
    system: System

    def database(self) -> str:
        """The address of the hub's database, migrated and shaped for the connection files; the embedded server is
        started if need be."""
        url = embedded.database_url(self.settings)
        prepare(url, self.system, of_system(self.system))
        return url

    @contextmanager
    def crm(self, connection: ConnectionSpec, url: str) -> Iterator[Crm]:
        """The connector of a connection; tokens and limits are kept in the database at `url`. A person uses it, so that
        its calls are made though the connection's circuit breaker is open; one that works closes it."""
        from crm_sync.connectors import build
        from crm_sync.hub.budget import PostgresLimiter
        from crm_sync.hub.keys import token_keys
        from crm_sync.hub.tokens import PostgresTokenStore

        crm = build.connect(
            connection,
            env=os.environ,
            tokens=PostgresTokenStore(url, token_keys(self.settings)),
            ca_bundle=self.settings.ca_bundle,
            timeout=self.settings.http_timeout,
            limiter=lambda quotas: PostgresLimiter(
                url, connection.name, quotas, limits=connection.limits, force=True
            ),
        )
        try:
            yield crm
        finally:
            crm.close()

    @contextmanager
    def crms(self, url: str) -> Iterator[Callable[[str], Crm]]:
        """Connectors by the connection's name, each made when first asked for."""
        with ExitStack() as stack:
            made: dict[str, Crm] = {}

            def crm(name: str) -> Crm:
                if name not in made:
                    made[name] = stack.enter_context(self.crm(self.connection(name), url))
                return made[name]

            yield crm

    def connection(self, name: str) -> ConnectionSpec:
        """The connection called `name`; SyncError names those that there are."""
        known = [connection.name for connection in self.system.connections]
        if name not in known:
            raise SyncError(f"there is no connection {name!r}; there are: {', '.join(known)}")
        return self.system.connection(name)

    def targets(self, words: Sequence[str]) -> dict[str, frozenset[str]]:
        """What `CONNECTION` and `CONNECTION/ENTITY` select: entities by connection, in the order of the files.

        Nothing selects everything. Raises SyncError for a name that does not exist.
        """
        found: dict[str, set[str]] = {}
        for word in words or [connection.name for connection in self.system.connections]:
            name, _, entity = word.partition("/")
            streams = {stream.entity: stream for stream in self.connection(name).streams}
            if entity and entity not in streams:
                raise SyncError(f"{name} has no entity {entity!r}; it has: {', '.join(streams)}")
            found.setdefault(name, set()).update({entity} if entity else streams)
        return {c.name: frozenset(found[c.name]) for c in self.system.connections if c.name in found}

    def streams(self) -> list[StreamSpec]:
        """Every stream, referenced entities first, connections in the order of the files."""
        return [stream for entity in self.system.entities for stream in self.system.of_entity(entity)]


def workspace() -> Workspace:
    """Settings from the environment, connections from the folder that they name."""
    settings = Settings.from_env(os.environ)
    return Workspace(settings, load(settings.connections))
