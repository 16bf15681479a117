"""The option `similar`: its defaults, and its complaints with file and line."""

import pytest

from crm_sync.core.errors import ConfigError
from crm_sync.mapping.load import load_texts

TEXT = """\
kind: memory
entities:
  contact:
    object: Contact
    match: email
    similar:
      compare: {phone: 40, first_name + last_name: 60}
    fields:
      first_name: FirstName
      last_name: LastName
      email: {field: Email, type: email}
      phone: {field: Phone, type: phone}
      born: {field: Born, type: date}
      tags: {field: Tags, type: multipicklist}
"""
COMPARE = "{phone: 40, first_name + last_name: 60}"


def test_points_and_default_thresholds() -> None:
    similar = load_texts({"a.yaml": TEXT}).stream("a", "contact").similar
    assert similar is not None
    assert similar.compare == ((("phone",), 40.0), (("first_name", "last_name"), 60.0))
    assert (similar.link_above, similar.review_above) == (0.95, 0.85)
    without = TEXT.replace("    similar:\n", "").replace(f"      compare: {COMPARE}\n", "")
    assert load_texts({"a.yaml": without}).stream("a", "contact").similar is None


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            "{phne: 40}",
            r"a.yaml:7: entities.contact.similar.compare.phne: phne is not .*did you mean phone\?",
        ),
        ("{phone: 40, tags: 3}", r"a.yaml:7: .*compare.tags: tags is not a field that can be compared"),
        (
            "{first_name: 3, born: 4}",
            r"a.yaml:7: entities.contact.similar.compare: needs a field of type phone",
        ),
        ("{phone: 0}", r"a.yaml:7: .*compare.phone: must be from 1 to 100"),
        ("{phone: lots}", r"a.yaml:7: .*compare.phone: must be a whole number"),
        ("{phone + : 4}", r"a.yaml:7: .*is not a field that can be compared"),
        ("{}", r"a.yaml:7: .*compare: must not be empty"),
        ("{phone: 4}\n      link_above: 0.9", r"a.yaml:8: .*link_above: must be a percentage"),
        ("{phone: 4}\n      link_above: 80%", r"a.yaml:\d: .*review_above: must not be more than link_above"),
        ("{phone: 4}\n      margin: 80%", r"a.yaml:8: .*margin"),
    ],
)
def test_complaints_name_the_line(given: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_texts({"a.yaml": TEXT.replace(COMPARE, given)})
