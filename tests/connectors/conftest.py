"""Fixtures for tests of connectors: a server over TLS, and transport settings that never really sleep."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crm_sync.connectors.http import TransportSettings
from tests.connectors.server import Answer, Server, serving


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("tls")) as server:
        yield server


@pytest.fixture
def server(_server: Server) -> Server:
    _server.asked.clear()
    _server.answers(Answer())
    return _server


@pytest.fixture
def slept() -> list[float]:
    """The seconds that were slept, had it been real."""
    return []


@pytest.fixture
def settings(server: Server, slept: list[float]) -> TransportSettings:
    return TransportSettings(timeout=5.0, ca_bundle=Path(server.ca_file), sleep=slept.append)
