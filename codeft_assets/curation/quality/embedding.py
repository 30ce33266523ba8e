"""Embeddings: the topic of a text as a vector. The built-in one needs no download: a fitted SVD of hashed words.

Invariant: a document's vector depends on its text only and has length 1, or 0 for a text without words; the same texts
and seed fit the same embedding. The built-in one is hashing TF-IDF with truncated SVD (latent semantic analysis).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from codeft_assets.curation.text_buffers import text_buffers

NUM_DIMENSIONS = 48


class Embedding(Protocol):
    """Turns texts into vectors."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dimensions, for feature tables."""
        ...

    def vectors(self, text: pa.Array) -> npt.NDArray[np.float32]:
        """Return one unit vector per text, ``(len(text), dimensions)``."""
        ...

    def state(self) -> dict[str, Any]:
        """Return ``kind`` and the arrays, numbers and strings from which it is opened again."""
        ...


OpenEmbedding = Callable[[Mapping[str, Any]], Embedding]
"""Opens the embedding that ``state`` describes."""


@dataclass(frozen=True, slots=True)
class HashedEmbedding:
    """A fitted projection of hashed words and word pairs."""

    weights: npt.NDArray[np.float32]
    """Inverse document frequency of each bucket, ``(buckets,)``."""
    components: npt.NDArray[np.float32]
    """The projection, ``(buckets, dimensions)``."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dimensions, for feature tables."""
        return tuple(f"embedding_{dimension}" for dimension in range(self.components.shape[1]))

    def vectors(self, text: pa.Array) -> npt.NDArray[np.float32]:
        """Return one unit vector per text, ``(len(text), dimensions)``."""
        from codeft_assets.curation.kernels.embedding import project

        data, offsets = text_buffers(text)
        return project(data, offsets, self.weights, self.components)

    def state(self) -> dict[str, Any]:
        """Return the arrays."""
        return {"kind": "hashed", "weights": self.weights, "components": self.components}


def open_hashed_embedding(state: Mapping[str, Any]) -> Embedding:
    """Return the built-in embedding that ``state`` describes.

    Raises:
        ValueError: it describes another kind, which only its origin can open.
    """
    if state["kind"] != "hashed":
        raise ValueError(f"embedding {state['kind']!r} is not built in; origins.hub_encoder opens it")
    return HashedEmbedding(np.ascontiguousarray(state["weights"]), np.ascontiguousarray(state["components"]))


def fit_embedding(text: pa.Array, *, seed: int, num_dimensions: int = NUM_DIMENSIONS) -> HashedEmbedding:
    """Return the embedding whose dimensions keep most of the variance of ``text`` (truncated SVD of TF-IDF).

    Raises:
        ValueError: Fewer texts than dimensions.
    """
    from scipy.sparse import csr_matrix
    from sklearn.utils.extmath import randomized_svd

    from codeft_assets.curation.kernels.embedding import NUM_BUCKETS, bucket_counts

    if len(text) < num_dimensions:
        raise ValueError(
            f"{len(text)} texts cannot fit {num_dimensions} dimensions; give more texts or fewer dimensions"
        )
    data, offsets = text_buffers(text)
    values, indices, indptr = bucket_counts(data, offsets, NUM_BUCKETS)
    frequency = np.bincount(indices, minlength=NUM_BUCKETS)
    weights = np.log((1 + len(text)) / (1 + frequency)).astype(np.float32)
    scaled = (1 + np.log(values)) * weights[indices]
    matrix = csr_matrix((scaled.astype(np.float32), indices, indptr), shape=(len(text), NUM_BUCKETS))
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    matrix.data /= np.repeat(np.maximum(lengths, 1e-9), np.diff(indptr)).astype(np.float32)
    _, _, components = randomized_svd(matrix, num_dimensions, random_state=seed)
    return HashedEmbedding(weights, np.ascontiguousarray(components.T, dtype=np.float32))
