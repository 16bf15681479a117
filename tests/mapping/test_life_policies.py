"""The key `deletes` of an entity: what it means, and what is wrong with it."""

import pytest

from crm_sync.core.deletes import DeletePolicy, Deletes
from crm_sync.core.errors import ConfigError
from crm_sync.mapping.load import load_texts

TEXT = """
kind: memory
entities:
  contact:
    object: Contact
    direction: {direction}
    deletes: {deletes}
    fields: {{last_name: LastName}}
"""


def _deletes(deletes: str, direction: str = "two_way") -> Deletes:
    text = TEXT.format(deletes=deletes, direction=direction)
    return load_texts({"acme.yaml": text}).streams[0].deletes


def test_what_is_left_out_has_its_default() -> None:
    assert _deletes("{}") == Deletes(DeletePolicy.ARCHIVE, DeletePolicy.REVIEW)
    assert _deletes("{inbound: propagate}") == Deletes(DeletePolicy.PROPAGATE, DeletePolicy.REVIEW)
    assert _deletes("{outbound: ignore}", "inbound") == Deletes(DeletePolicy.ARCHIVE, DeletePolicy.IGNORE)


@pytest.mark.parametrize(
    ("deletes", "direction", "complaint"),
    [
        ("{outbound: archive}", "two_way", "acme.yaml:7: entities.contact.deletes.outbound: "),
        ("{inbound: keep}", "two_way", "acme.yaml:7: entities.contact.deletes.inbound: "),
        (
            "{outbound: propagate}",
            "inbound",
            "the entity is inbound, so no deletion is ever sent; remove the key",
        ),
        (
            "{inbound: archive}",
            "outbound",
            "the entity is outbound, so no deletion is ever taken; remove the key",
        ),
    ],
)
def test_what_cannot_be(deletes: str, direction: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        _deletes(deletes, direction)
    assert complaint in str(raised.value)


def test_archived_at_is_a_column_of_ours() -> None:
    with pytest.raises(ConfigError, match="archived_at: this name is a column of our own tables"):
        load_texts(
            {"acme.yaml": TEXT.format(deletes="{}", direction="two_way").replace("last_name", "archived_at")}
        )
