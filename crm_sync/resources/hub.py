"""The hub's database for the length of one run.

A run has one `Store`. In a dry run it is one transaction, rolled back at the end, which all assets of the run
share: so the plan of a later step is made on what an earlier one would have done. This needs the in-process
executor, which is this project's.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Self

import dagster as dg
import psycopg

from crm_sync.connectors.catalogue import of_system
from crm_sync.core.spec import System
from crm_sync.hub import embedded
from crm_sync.hub.prepare import prepare
from crm_sync.hub.store import Store
from crm_sync.settings import Settings

KEY = "hub"


@dataclass(slots=True)
class Hub:
    """Opens the database when it is first needed; `address` starts the embedded server if need be."""

    address: Callable[[], str]
    system: System
    run_id: str | None = None
    _store: Store | None = field(default=None, init=False)
    _ready: bool = field(default=False, init=False)

    @property
    def url(self) -> str:
        """The address of a database that is migrated and fits the connection files."""
        url = self.address()
        if not self._ready:
            prepare(url, self.system, of_system(self.system))
            self._ready = True
        return url

    def store(self, *, dry_run: bool) -> Store:
        """The run's store. A broken connection is replaced, except in a dry run, whose plan would be half lost."""
        if self._store is not None and (self._store.conn.closed or self._store.conn.broken) and not dry_run:
            self._store = None
        if self._store is None:
            self._store = Store(self.url, dry_run=dry_run, run_id=self.run_id)
        return self._store

    @contextmanager
    def reading(self) -> Iterator[psycopg.Connection]:
        """A connection of its own that shows what is committed, whatever the run's transaction has done."""
        with closing(psycopg.connect(self.url, autocommit=True)) as conn:
            conn.execute("set timezone = 'UTC'")
            yield conn

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()


def hub_resource(system: System, settings: Settings) -> dg.ResourceDefinition:
    """The resource; the address is in no configuration, because it holds a password."""

    def open_hub(context: dg.InitResourceContext) -> Iterator[Hub]:
        with hub_of(system, settings, context.run.run_id if context.run else None) as hub:
            yield hub

    return dg.ResourceDefinition(open_hub, description="The hub's Postgres, one connection a run.")


def hub_of(system: System, settings: Settings, run_id: str | None = None) -> Hub:
    """The database that `settings` name, outside a run: for schedules and sensors."""
    return Hub(lambda: embedded.database_url(settings), system, run_id)
