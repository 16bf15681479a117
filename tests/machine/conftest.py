"""A ground for each worker: its own database, since stories change the settings of theirs."""

import secrets
from collections.abc import Iterator

import psycopg
import pytest

from crm_sync.hub import embedded
from tests.machine.ground import Ground


@pytest.fixture(scope="session")
def ground(server_url: str) -> Iterator[Ground]:
    name = f"crm_sync_machine_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"create database {name} template template0")
    ground = Ground(embedded.with_database(server_url, name))
    yield ground
    ground.close()
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"drop database {name} with (force)")
