"""Scripts that write no spaces between words: each of their characters is taken for a word.

Kernels know words by ASCII separators. Without this a Chinese page is one word: it has no shingles, so its duplicates
are not found, and rules take it for a dump of keys.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

_WITHOUT_SPACES = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\x{3000}-\x{303F}\x{FF00}-\x{FFEF}]"
)
_SMALLEST_SHARE = 0.1
"""Bytes behind the first of a character / bytes, from which on a text is looked at; a page of English has 0.01."""


def separate_words(text: pa.Array) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """Return the rows of texts in scripts without spaces, and these texts with a space behind each such character."""
    texts = pl.Series(text.cast(pa.large_string()), dtype=pl.String)
    num_bytes = texts.str.len_bytes()
    is_foreign = (num_bytes - texts.str.len_chars()) > _SMALLEST_SHARE * num_bytes
    rows = is_foreign.arg_true()
    separated = texts.gather(rows).str.replace_all(f"({_WITHOUT_SPACES})", "$1 ")
    return rows.to_numpy().astype(np.int64), separated.to_arrow().cast(pa.large_string())
