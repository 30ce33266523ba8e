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

from codeft_assets.curation.kernels.scripts import count_spaceless, space_out
from codeft_assets.curation.text_buffers import text_buffers

_WITHOUT_SPACES = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    r"\x{3000}-\x{30FF}\x{FF00}-\x{FFEF}]"  # punctuation, sound marks and full-width forms have no script
)
_SMALLEST_SHARE = 0.02
"""Bytes behind the first of a character / bytes, from which on a text is looked at; a page of English has 0.01."""


def separate_words(text: pa.Array) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """Return the rows of texts in scripts without spaces, and these texts with a space behind each such character."""
    texts = pl.Series(text, dtype=pl.String)
    num_bytes = texts.str.len_bytes()
    is_foreign = (num_bytes - texts.str.len_chars()) > _SMALLEST_SHARE * num_bytes
    rows = is_foreign.arg_true().to_numpy().astype(np.int64)
    if not len(rows):
        return rows, text.slice(0, 0)
    counts = count_spaceless(*text_buffers(text.take(pa.array(rows))), _spaceless())
    rows, counts = rows[counts > 0], counts[counts > 0]
    out, bounds = space_out(*text_buffers(text.take(pa.array(rows))), counts, _spaceless())
    return rows, pa.LargeStringArray.from_buffers(len(rows), pa.py_buffer(bounds), pa.py_buffer(out))


@cache
def _spaceless() -> npt.NDArray[np.bool_]:
    """Return for each code point of the first plane whether its script writes no spaces."""
    points = np.arange(1 << 16)
    is_char = (points < 0xD800) | (points > 0xDFFF)  # surrogates are none
    found = np.zeros(len(points), dtype=np.bool_)
    found[is_char] = pl.Series([chr(point) for point in points[is_char]]).str.contains(_WITHOUT_SPACES).to_numpy()
    return found
