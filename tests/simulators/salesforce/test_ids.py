"""Ids: check characters, spelling, order."""

import numpy as np
import pytest

from crm_sync.simulators.salesforce import ids

REAL = ("7508d00000Ihhl5AAB", "005x00000012Q9PAAU", "701E0000000JuFHIA0")


@pytest.mark.parametrize("full", REAL)
def test_check_characters(full):
    assert ids.normalise(full[:15]) == full
    assert ids.normalise(full) == full
    assert ids.normalise(full.lower()) == full, "the suffix says which letters are upper case"


@pytest.mark.parametrize(
    "text", ["", "003", "003Sm0000000001IA", "003Sm00000000!1", None, 5, "7508d00000Ihhl5AA9"]
)
def test_no_ids(text):
    assert ids.normalise(text) is None


def test_ids_sort_as_their_numbers():
    made = [ids.make("003", number) for number in range(1, 500_000, 991)]
    assert made == sorted(made)
    assert all(ids.normalise(i[:15]) == i and len(i) == 18 for i in made)


@pytest.mark.parametrize("start", [1, 3_800, 14_776_300])
def test_numbers_and_ids_in_great_numbers(start):
    numbers = np.arange(start, start + 100)
    made = ids.many("003", numbers)
    assert made == [ids.make("003", number) for number in numbers.tolist()]
    assert [ids.number(record_id) for record_id in made] == numbers.tolist()
    assert ids.number("7508d00000Ihhl5AAB") == -1
