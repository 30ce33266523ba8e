"""MinHash signatures: band keys that similar documents share, straight from the Arrow string buffers.

Invariant: a document's signature depends on its text and the parameters only, never on its neighbors, so it is computed
once per shard and kept. Documents of fewer than ``shingle_words`` words have no shingles: for them only exact
duplication is defined.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.kernels.minhash import band_keys
from codeft_assets.curation.scripts import separate_words
from codeft_assets.curation.text_buffers import text_buffers


@dataclass(frozen=True, slots=True, kw_only=True)
class MinHashParams:
    """16 bands of 7 rows: a pair of Jaccard 0.85 is missed once in 480, one of 0.9 once in 29,000.

    datatrove's 14 bands of 8 rows take as many hashes and miss one in 86 at 0.85.
    """

    num_bands: int = 16
    rows_per_band: int = 7
    shingle_words: int = 5
    seed: int = 1

    def __post_init__(self) -> None:
        if min(astuple(self)) < 1:
            raise ValueError(f"MinHash parameters {astuple(self)} must all be at least 1; correct the configuration")

    def band_columns(self) -> list[str]:
        """Names of the band key columns."""
        return [f"band_{band}" for band in range(self.num_bands)]


def compute_signatures(text: pa.Array, params: MinHashParams) -> pl.DataFrame:
    """Return ``num_shingles`` (uint32), ``shingle_sum`` and one key per band (uint64), a row per document.

    ``shingle_sum`` is the sum of all shingle hashes modulo 2^64: equal for documents of the same
    shingles, so that a similarity that was computed for one of them holds for the other.
    """
    how = params.shingle_words, _draw_odd_factors(params), params.num_bands
    counts, sums, keys = band_keys(*text_buffers(text), *how)
    foreign, separated = separate_words(text)
    if len(foreign):
        counts[foreign], sums[foreign], keys[:, foreign] = band_keys(*text_buffers(separated), *how)
    columns = dict(zip(params.band_columns(), keys, strict=True))
    return pl.DataFrame({"num_shingles": counts, "shingle_sum": sums, **columns})


def _draw_odd_factors(params: MinHashParams) -> npt.NDArray[np.uint32]:
    """Return the odd factors that permute 32-bit numbers (modulo 2^32), one for each row of each band."""
    num_hashes = params.num_bands * params.rows_per_band
    generator = np.random.default_rng(params.seed)
    return generator.integers(0, 2**31, num_hashes, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
