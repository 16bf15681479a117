"""Columns of text are what Arrow makes of them, without the detour."""

import subprocess
import sys

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from crm_sync.connectors.columns import text_column


@given(st.lists(st.none() | st.text(), max_size=40))
def test_a_column_is_what_arrow_makes_of_the_values(values):
    made = text_column(values)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.string()))


def test_half_a_pair_does_not_stop_a_page():
    assert text_column(["a\ud800b", None]).to_pylist() == ["a?b", None]


def test_pandas_is_not_imported():
    program = (
        "import sys; from crm_sync.connectors.hubspot.values import page;"
        "page([{'crm_id': '1'}], ('a',)); sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
