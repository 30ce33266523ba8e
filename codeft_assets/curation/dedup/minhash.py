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

from codeft_assets.curation.kernels.minhash import band_keys, jaccard_of_pairs, shingle_sets
from codeft_assets.curation.quality.signals import text_buffers


@dataclass(frozen=True, slots=True, kw_only=True)
class MinHashParams:
    """14 bands of 8 rows: a pair of Jaccard 0.72 becomes a candidate with probability one half (datatrove's choice)."""

    num_bands: int = 14
    rows_per_band: int = 8
    shingle_words: int = 5
    seed: int = 1

    def __post_init__(self) -> None:
        if min(astuple(self)) < 1:
            raise ValueError(f"MinHash parameters {astuple(self)} must all be at least 1; correct the configuration")

    def band_columns(self) -> list[str]:
        """Names of the band key columns."""
        return [f"band_{band}" for band in range(self.num_bands)]


def signatures(text: pa.Array, params: MinHashParams) -> pl.DataFrame:
    """Return ``num_shingles`` (uint32), ``shingle_sum`` and one key per band (uint64), a row per document.

    The sum is equal for documents of equal shingles: what is known of one of them is known of the other.
    """
    data, offsets = text_buffers(text)
    counts, sums, keys = band_keys(data, offsets, params.shingle_words, _odd_factors(params), params.num_bands)
    columns = dict(zip(params.band_columns(), keys, strict=True))
    return pl.DataFrame({"num_shingles": counts, "shingle_sum": sums, **columns})


def jaccard(
    text: pa.Array, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], params: MinHashParams
) -> npt.NDArray[np.float32]:
    """Return the exact Jaccard similarity of the shingle sets of documents ``left[i]`` and ``right[i]``."""
    data, offsets = text_buffers(text)
    flat, bounds = shingle_sets(data, offsets, params.shingle_words)
    return jaccard_of_pairs(flat, bounds[:-1], bounds[1:], left, right)


def _odd_factors(params: MinHashParams) -> npt.NDArray[np.uint32]:
    """Return what permutes 32-bit numbers, one for each row of each band."""
    num_hashes = params.num_bands * params.rows_per_band
    generator = np.random.default_rng(params.seed)
    return generator.integers(0, 2**31, num_hashes, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
