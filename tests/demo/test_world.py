"""What the demo may touch: its own folder, and a database that is empty or its own."""

from pathlib import Path

import psycopg
import pytest

from crm_sync.core.errors import SyncError
from crm_sync.demo.world import claim, world


def test_a_database_of_a_demo_is_emptied(fresh_database_url: str) -> None:
    claim(fresh_database_url)
    with psycopg.connect(fresh_database_url) as conn:
        conn.execute("create table hub.contact (id int)")
        conn.execute("create schema salesforce")
        conn.execute("create schema somebody_else")
    claim(fresh_database_url)
    with psycopg.connect(fresh_database_url) as conn:
        row = conn.execute(
            "select to_regclass('hub.contact'), to_regnamespace('salesforce'), to_regnamespace('somebody_else')::text"
        ).fetchone()
    assert row == (None, None, "somebody_else")


@pytest.mark.parametrize("schema", ["hub", "salesforce", "dagster"])
def test_a_database_of_somebody_is_left_alone(fresh_database_url: str, schema: str) -> None:
    with psycopg.connect(fresh_database_url) as conn:
        conn.execute(f"create schema {schema}")
        conn.execute(f"create table {schema}.precious (id int)")
    with pytest.raises(SyncError, match=f"already has {schema}"):
        claim(fresh_database_url)
    with psycopg.connect(fresh_database_url) as conn:
        assert conn.execute(f"select count(*) from {schema}.precious").fetchone() == (0,)


def test_a_folder_of_somebody_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("only copy")
    with (
        pytest.raises(SyncError, match="is not a demo's folder"),
        world(tmp_path, records=100, port=1, keep=False),
    ):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "only copy"
