"""Educational value: how much a student of coding would learn from a document, as phi-1 filtered its web data.

A random forest on signals and a text embedding learns labels of 0 to 5; a logistic map makes its answer the
probability that a reader gives 3 or more (phi-1, arXiv 2306.11644 section 2.1, with FineWeb-Edu's scale). Invariant:
the same labels and seed give the same classifier; a stored one holds arrays and trees only, and loading runs no code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.embedding import Embedding, embed, fit_embedding
from codeft_assets.curation.labels import MAX_LABEL, LabeledDocuments
from codeft_assets.curation.signals import SIGNAL_NAMES, signals

GOOD_LABEL, POOR_LABEL = 3, 1
"""A document is good from 3 (FineWeb-Edu's cut) and poor up to 1; the AUC compares the two."""
NUM_TREES = 300
MIN_LABELED_DOCUMENTS = 50
"""Fewer labels than this cannot rank documents; training refuses."""
_TRUSTED_TYPES = frozenset({"sklearn.tree._tree.Tree"})
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """A fitted embedding, a forest that predicts label / 5, and the logistic map of its answer to a probability."""

    embedding: Embedding
    forest: Any
    """A ``sklearn.ensemble.ExtraTreesRegressor``: a random forest whose cuts are random too."""
    slope: float
    offset: float
    num_labels: int
    """Documents it was trained on."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Columns of the feature matrix, in order."""
        return (*SIGNAL_NAMES, *self.embedding.names)


def features(embedding: Embedding, measured: pl.DataFrame, text: pa.Array) -> npt.NDArray[np.float32]:
    """Return the feature matrix: the signals ``measured`` of ``text``, then its embedding."""
    return np.hstack([measured.select(SIGNAL_NAMES).to_numpy(), embed(embedding, text)])


def fit_classifier(documents: LabeledDocuments, *, seed: int, corpus: pa.Array | None = None) -> Classifier:
    """Return the classifier that ``documents`` teach.

    Args:
        documents: The training side of the labels.
        seed: Of the forest and of the embedding's fit.
        corpus: Texts to fit the embedding on, with the labeled ones; a sample of what will be scored helps.

    Raises:
        ValueError: Too few documents, or only good or no good ones.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    good = documents.label >= GOOD_LABEL
    if len(documents) < MIN_LABELED_DOCUMENTS or good.all() or not good.any():
        raise ValueError(
            f"{len(documents)} labeled documents, {int(good.sum())} of them {GOOD_LABEL} or more, cannot train: a "
            f"classifier takes {MIN_LABELED_DOCUMENTS} of both kinds; add labels ({documents.num_left_out} left out)"
        )
    seen = documents.text if corpus is None else pa.concat_arrays([documents.text, corpus.cast(pa.large_string())])
    embedding = fit_embedding(seen, seed=seed)
    matrix = features(embedding, signals(documents.text, documents.language), documents.text)
    # Random cuts (Geurts 2006) instead of best ones: AUC .96 against .94 on packages without a label, .99 and .98 on
    # held-out documents (tests/benchmarks/quality.py). Bootstrap leaves answers out of the bag, which calibrate.
    forest = ExtraTreesRegressor(
        NUM_TREES, max_features=1 / 3, min_samples_leaf=2, bootstrap=True, oob_score=True, random_state=seed, n_jobs=1
    )
    forest.fit(matrix, documents.label / MAX_LABEL)
    slope, offset = _calibrate(forest.oob_prediction_, good)
    return Classifier(embedding=embedding, forest=forest, slope=slope, offset=offset, num_labels=len(documents))


def _calibrate(answers: npt.NDArray[np.float64], good: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and offset of the logistic map of ``answers`` to P(good), Platt's method."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=100.0).fit(answers.reshape(-1, 1), good)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def predict(classifier: Classifier, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the educational value of each row of the feature matrix, in 0..1."""
    if len(matrix) == 0:
        return np.zeros(0, dtype=np.float32)
    answers = classifier.forest.predict(matrix)
    return (1 / (1 + np.exp(-(classifier.slope * answers + classifier.offset)))).astype(np.float32)


def score(classifier: Classifier, text: pa.Array, language: pa.Array) -> pl.DataFrame:
    """Return the signals and the ``educational_value`` (float32, 0..1) of each document."""
    measured = signals(text, language)
    value = predict(classifier, features(classifier.embedding, measured, text))
    return measured.with_columns(pl.Series("educational_value", value, dtype=pl.Float32))


def dump(classifier: Classifier) -> bytes:
    """Return the classifier as a skops archive: JSON and arrays, no pickle."""
    import skops.io

    state = {
        "format": _FORMAT,
        "signals": list(SIGNAL_NAMES),
        "weights": classifier.embedding.weights,
        "components": classifier.embedding.components,
        "forest": classifier.forest,
        "slope": classifier.slope,
        "offset": classifier.offset,
        "num_labels": classifier.num_labels,
    }
    return skops.io.dumps(state)


def load(content: bytes) -> Classifier:
    """Return the classifier that ``dump`` stored.

    Raises:
        ValueError: No skops archive, a type in it that is not a forest's, or other signals than ours.
    """
    import skops.io

    try:
        found = set(skops.io.get_untrusted_types(data=content))
    except BadZipFile as error:
        raise ValueError(f"classifier file of {len(content)} bytes is no skops archive; train it again") from error
    if not found <= _TRUSTED_TYPES:
        raise ValueError(
            f"classifier file holds {sorted(found - _TRUSTED_TYPES)}, which a forest does not need and could run code; "
            "do not load it: train the classifier again"
        )
    state = skops.io.loads(content, trusted=sorted(found))
    if not isinstance(state, dict) or state.get("signals") != list(SIGNAL_NAMES) or state.get("format") != _FORMAT:
        raise ValueError("classifier file was trained on other signals than this version computes; train it again")
    return Classifier(
        embedding=Embedding(np.ascontiguousarray(state["weights"]), np.ascontiguousarray(state["components"])),
        forest=state["forest"],
        slope=float(state["slope"]),
        offset=float(state["offset"]),
        num_labels=int(state["num_labels"]),
    )
