"""Rankers of documents: a forest on signals and an embedding, as in phi-1, or a linear model of words, as in fastText.

Invariant: a ranker is arrays and trees, fitted from labels and a seed; its state holds nothing that runs when loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.quality.embedding import Embedding, OpenEmbedding
from codeft_assets.curation.quality.labels import GOOD_LABEL, MAX_LABEL, LabeledDocuments
from codeft_assets.curation.quality.signals import SIGNAL_NAMES, measure_signals
from codeft_assets.curation.text_buffers import text_buffers

NUM_TREES = 300
_NUM_FOLDS = 5


class Ranker(Protocol):
    """A model that orders documents by educational value."""

    def predict(self, measured: pl.DataFrame, text: pa.Array) -> npt.NDArray[np.float64]:
        """Return a number per document, higher for better ones; ``measured`` are the signals of ``text``."""
        ...

    def feature_shares(self) -> dict[str, float]:
        """Return the share of each named feature in the predictions; {} where features have no names."""
        ...

    def state(self) -> dict[str, Any]:
        """Return ``kind`` and the parts from which ``open_ranker`` makes the ranker again."""
        ...


@dataclass(frozen=True, slots=True)
class Forest:
    """A random forest that predicts label / 5 from signals and embedding."""

    embedding: Embedding
    trees: Any
    """A ``sklearn.ensemble.ExtraTreesRegressor``: a random forest whose cuts are random too."""

    def predict(self, measured: pl.DataFrame, text: pa.Array) -> npt.NDArray[np.float64]:
        """Return the mean prediction of the trees."""
        return self.trees.predict(build_features(self.embedding, measured, text))

    def feature_shares(self) -> dict[str, float]:
        """Return each feature's share of the variance that the trees explain."""
        shares = self.trees.feature_importances_.tolist()
        return dict(zip((*SIGNAL_NAMES, *self.embedding.names), shares, strict=True))

    def state(self) -> dict[str, Any]:
        """Return trees and embedding."""
        return {"kind": "forest", "trees": self.trees, "embedding": self.embedding.state()}


@dataclass(frozen=True, slots=True)
class Linear:
    """Logistic regression on hashed words and word pairs; reads no signals."""

    weights: npt.NDArray[np.float32]
    """Inverse document frequency of each bucket."""
    coefficients: npt.NDArray[np.float32]
    intercept: float

    def predict(self, measured: pl.DataFrame, text: pa.Array) -> npt.NDArray[np.float64]:
        """Return the log-odds of a good label."""
        from codeft_assets.curation.kernels.embedding import linear_predictions

        data, offsets = text_buffers(text)
        return linear_predictions(data, offsets, self.weights, self.coefficients) + self.intercept

    def feature_shares(self) -> dict[str, float]:
        """Return nothing: a bucket has no name."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return the two arrays and the intercept."""
        arrays = {"weights": self.weights, "coefficients": self.coefficients}
        return {"kind": "linear", "intercept": self.intercept, **arrays}


def build_features(embedding: Embedding, measured: pl.DataFrame, text: pa.Array) -> npt.NDArray[np.float32]:
    """Return the forest's feature matrix: the signals ``measured`` of ``text``, then its embedding."""
    return np.hstack([measured.select(SIGNAL_NAMES).to_numpy(), embedding.vectors(text)])


Fitted = tuple[Ranker, npt.NDArray[np.float64]]
"""A ranker and its predictions of its training documents, each by a part that was fitted without the document."""


def fit_forest(documents: LabeledDocuments, embedding: Embedding, *, seed: int) -> Fitted:
    """Return the forest fitted to ``documents``."""
    from sklearn.ensemble import ExtraTreesRegressor

    matrix = build_features(embedding, measure_signals(documents.text, documents.language), documents.text)
    # Random cuts (Geurts 2006) instead of best ones: AUC .96 against .94 on packages without a label, .99 and .98 on
    # held-out documents (tests/benchmarks/quality.py). Bootstrap gives predictions out of the bag, which calibrate.
    trees = ExtraTreesRegressor(
        NUM_TREES, max_features=1 / 3, min_samples_leaf=2, bootstrap=True, oob_score=True, random_state=seed, n_jobs=1
    )
    trees.fit(matrix, documents.label / MAX_LABEL, sample_weight=documents.weight)
    return Forest(embedding, trees), trees.oob_prediction_


def fit_linear(documents: LabeledDocuments, embedding: Embedding, *, seed: int) -> Fitted:
    """Return the linear model fitted to ``documents``; it hashes words itself and reads no embedding."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.preprocessing import normalize

    from codeft_assets.curation.kernels.embedding import NUM_LINEAR_BUCKETS, bucket_counts

    del embedding
    data, offsets = text_buffers(documents.text)
    values, indices, indptr = bucket_counts(data, offsets, NUM_LINEAR_BUCKETS)
    frequency = np.bincount(indices, minlength=NUM_LINEAR_BUCKETS)
    weights = np.log((1 + len(documents)) / (1 + frequency)).astype(np.float32)
    shape = (len(documents), NUM_LINEAR_BUCKETS)
    matrix = normalize(csr_matrix(((1 + np.log(values)) * weights[indices], indices, indptr), shape=shape))
    model = LogisticRegression(C=10.0, solver="liblinear", random_state=seed)
    folds = StratifiedKFold(_NUM_FOLDS, shuffle=True, random_state=seed)
    good = documents.label >= GOOD_LABEL
    unseen = np.asarray(cross_val_predict(model, matrix, good, cv=folds, method="decision_function"))
    model.fit(matrix, good, sample_weight=documents.weight)
    coefficients, intercept = np.asarray(model.coef_)[0].astype(np.float32), np.asarray(model.intercept_)[0]
    return Linear(weights, coefficients, float(intercept)), unseen


FITTERS: dict[str, Callable[..., Fitted]] = {"forest": fit_forest, "linear": fit_linear}
"""The rankers by name, as the launchpad offers them."""


def open_ranker(state: Mapping[str, Any], open_embedding: OpenEmbedding) -> Ranker:
    """Return the ranker that ``state`` describes.

    Raises:
        ValueError: its kind is unknown to this version.
    """
    if state["kind"] == "forest":
        return Forest(open_embedding(state["embedding"]), state["trees"])
    if state["kind"] == "linear":
        weights, coefficients = (np.ascontiguousarray(state[name]) for name in ("weights", "coefficients"))
        return Linear(weights, coefficients, float(state["intercept"]))
    raise ValueError(f"ranker {state['kind']!r} is none of {sorted(FITTERS)}; train the classifier again")
