"""The table of types in the documentation says what the code does."""

from pathlib import Path

from crm_sync.core.normalise import TEXT_TYPES
from crm_sync.core.spec import FieldType
from crm_sync.core.values import LENGTH_LIMIT, NUMBER_DIGITS
from crm_sync.hub.sql import HUB_TYPES

PAGE = (Path(__file__).parents[2] / "docs/reference/field-types.md").read_text(encoding="utf-8")
ROWS = {
    cells[1].strip("` "): cells[2].strip()
    for cells in (line.split("|") for line in PAGE.splitlines() if line.startswith("| `"))
}


def test_every_type_is_documented_with_its_column():
    assert list(ROWS) == [str(kind) for kind in FieldType]
    for kind in FieldType:
        column, _, more = ROWS[kind].partition(", ")
        assert column == f"`{HUB_TYPES[kind]}`"
        assert (more == "any text") == (kind in TEXT_TYPES - {FieldType.REFERENCE})


def test_the_limits_are_the_documented_ones():
    assert f"More than {LENGTH_LIMIT:,} characters" in PAGE
    assert f"more than {NUMBER_DIGITS:,} digits" in PAGE
