"""Scripts that write no spaces between words: each of their characters is taken for a word.

Kernels know words by ASCII separators. Without this a Chinese page is one word: it has no shingles, so its duplicates
are not found, and rules take it for a dump of keys.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.kernels.scripts import space_out
from codeft_assets.curation.kernels.words import count_foreign
from codeft_assets.curation.text_buffers import text_buffers

_WITHOUT_SPACES = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    r"\x{3000}-\x{30FF}\x{FF00}-\x{FFEF}]"  # punctuation, sound marks and full-width forms have no script
)
_SMALLEST_SHARE = 0.03
"""Bytes of 0x80 or more / bytes, from which on a text is looked at; a page of English has 0.015."""


def separate_words(text: pa.Array) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """Return the rows of texts in scripts without spaces, and these texts with a space behind each such character."""
    data, offsets = text_buffers(text)
    is_foreign = count_foreign(data, offsets) > _SMALLEST_SHARE * np.diff(offsets)
    rows = np.flatnonzero(is_foreign)
    if not len(rows):
        return rows, text.slice(0, 0)
    found, out, bounds = space_out(data, offsets, rows, _spaceless())
    return found, pa.LargeStringArray.from_buffers(len(found), pa.py_buffer(bounds), pa.py_buffer(out))


@cache
def _spaceless() -> npt.NDArray[np.bool_]:
    """Return for each code point of the first plane whether its script writes no spaces."""
    points = np.arange(1 << 16)
    is_char = (points < 0xD800) | (points > 0xDFFF)  # surrogates are none
    found = np.zeros(len(points), dtype=np.bool_)
    found[is_char] = pl.Series([chr(point) for point in points[is_char]]).str.contains(_WITHOUT_SPACES).to_numpy()
    return found
