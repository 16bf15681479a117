"""Columns of text for Arrow, made without pandas.

`pyarrow.array` imports pandas to look whether it was given some: half a second and fifty megabytes, in every process
that reads a page of JSON.
"""

from array import array
from collections.abc import Sequence
from itertools import accumulate

import pyarrow as pa


def text_column(values: Sequence[str | None]) -> pa.Array:
    """A column of strings. Half a surrogate pair, which JSON can hold and UTF-8 cannot, becomes a question mark."""
    encoded = [b"" if value is None else value.encode("utf-8", "replace") for value in values]
    offsets = array("i", accumulate(map(len, encoded), initial=0))
    present = None
    if None in values:
        bits = bytearray(-(-len(values) // 8))
        for place, value in enumerate(values):
            if value is not None:
                bits[place >> 3] |= 1 << (place & 7)
        present = pa.py_buffer(bits)
    buffers = [present, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)
