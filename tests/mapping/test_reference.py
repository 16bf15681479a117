"""The committed documentation and schema are those of the code."""

import json
from pathlib import Path

from crm_sync.mapping.kinds import KINDS
from crm_sync.mapping.reference import DOCUMENT, SCHEMA, SECTIONS, refresh, schema_text, write
from crm_sync.mapping.schema import schema

DOCS = Path(__file__).parents[2] / "docs" / "reference"
HINT = "run: python -m crm_sync.mapping docs/reference"


def test_the_schema_is_current():
    assert (DOCS / SCHEMA).read_text("utf-8") == schema_text(), HINT


def test_the_document_is_current_and_complete():
    text = (DOCS / DOCUMENT).read_text("utf-8")
    assert refresh(text) == text, HINT
    for section in SECTIONS:
        assert f"<!-- keys: {section} -->" in text


def test_write_brings_both_up_to_date(tmp_path):
    (tmp_path / DOCUMENT).write_text("before\n<!-- keys: memory -->\nold\n<!-- end -->\nafter\n", "utf-8")
    write(tmp_path)
    text = (tmp_path / DOCUMENT).read_text("utf-8")
    assert text.startswith("before\n<!-- keys: memory -->\n| Key |")
    assert text.endswith("|\n<!-- end -->\nafter\n")
    assert json.loads((tmp_path / SCHEMA).read_text("utf-8")) == schema()


def test_the_schema_knows_every_kind_and_the_short_form_of_fields():
    found = schema()
    assert len(found["oneOf"]) == len(KINDS)
    kinds = {found["$defs"][model.__name__]["properties"]["kind"]["const"] for model in KINDS.values()}
    assert kinds == set(KINDS)
    assert found["$defs"]["FieldModel"]["anyOf"][0] == {"type": "string"}
    assert "from" in found["$defs"]["FieldModel"]["anyOf"][1]["properties"]
    assert '"title"' not in json.dumps(found["$defs"])


def test_every_key_is_described():
    for model in [*SECTIONS.values(), *KINDS.values()]:
        for name, info in model.model_fields.items():
            assert name == "grant" or info.description, f"{model.__name__}.{name}"
