"""A database with the tables of budgets and of the circuit breaker."""

import psycopg
import pytest

from crm_sync.hub import migrate


@pytest.fixture(scope="module")
def url(database_url):
    migrate.upgrade(database_url)
    return database_url


@pytest.fixture
def conn(url):
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("truncate sync.budget, sync.health, sync.parked")
        yield conn
