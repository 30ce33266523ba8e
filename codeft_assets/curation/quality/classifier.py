"""Educational value: how much a student of coding would learn from a document, as phi-1 filtered its web data.

A ranker learns labels of 0 to 5; a logistic map turns its prediction into the probability that a reader gives 3 or more
(phi-1, arXiv 2306.11644 section 2.1, with FineWeb-Edu's scale). Invariant: the same labels and seed give the same
classifier; a stored one holds arrays and trees only, and loading runs no code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.quality.embedding import Embedding, OpenEmbedding, fit_embedding, open_hashed_embedding
from codeft_assets.curation.quality.labels import GOOD_LABEL, LabeledDocuments
from codeft_assets.curation.quality.natural_language import identify_languages
from codeft_assets.curation.quality.rankers import FITTERS, Ranker, open_ranker
from codeft_assets.curation.quality.signals import SIGNAL_NAMES, measure_signals

MIN_LABELED_DOCUMENTS = 50
"""Fewer labels than this cannot rank documents; training refuses."""
_TRUSTED_TYPES = frozenset({"sklearn.tree._tree.Tree"})
_FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """A fitted ranker and the logistic map of its prediction to a probability."""

    ranker: Ranker
    slope: float
    offset: float
    num_labels: int
    """Documents it was trained on."""
    version: str = ""
    """Hash of labels, code and choices: documents that the same version scored need not be scored again."""


def fit_classifier(
    documents: LabeledDocuments, *, seed: int, kind: str = "forest", embedding: Embedding | None = None
) -> Classifier:
    """Return the classifier fitted to ``documents``.

    Args:
        documents: The training side of the labels.
        seed: Seed of the ranker and of the embedding's fit.
        kind: One of ``rankers.FITTERS``.
        embedding: Read by the forest besides signals; None fits the built-in one to the documents.

    Raises:
        ValueError: no such kind, too few documents, or only good or no good ones.
    """
    if kind not in FITTERS:
        raise ValueError(f"classifier {kind!r} does not exist; choose one of {sorted(FITTERS)}")
    good = documents.label >= GOOD_LABEL
    if len(documents) < MIN_LABELED_DOCUMENTS or good.all() or not good.any():
        raise ValueError(
            f"{len(documents)} labeled documents, {int(good.sum())} of them {GOOD_LABEL} or more, cannot train: a "
            f"classifier takes {MIN_LABELED_DOCUMENTS} of both kinds; add labels ({documents.num_left_out} left out)"
        )
    fitted_embedding = embedding or fit_embedding(documents.text, seed=seed)
    ranker, unseen_predictions = FITTERS[kind](documents, fitted_embedding, seed=seed)
    slope, offset = _calibrate(unseen_predictions, good, documents.weight)
    return Classifier(ranker=ranker, slope=slope, offset=offset, num_labels=len(documents))


def _calibrate(
    predictions: npt.NDArray[np.float64], good: npt.NDArray[np.bool_], weight: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """Return slope and offset of the logistic map of ``predictions`` to P(good), Platt's method."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=100.0).fit(predictions.reshape(-1, 1), good, sample_weight=weight)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def predict_values(classifier: Classifier, measured: pl.DataFrame, text: pa.Array) -> npt.NDArray[np.float32]:
    """Return the educational value, 0..1, of each text; ``measured`` are the signals of the texts."""
    if len(text) == 0:
        return np.zeros(0, dtype=np.float32)
    predictions = classifier.ranker.predict(measured, text)
    return (1 / (1 + np.exp(-(classifier.slope * predictions + classifier.offset)))).astype(np.float32)


def score_documents(classifier: Classifier, text: pa.Array, language: pa.Array) -> pl.DataFrame:
    """Return the signals, ``educational_value`` (float32, 0..1) and ``natural_language`` of each document."""
    measured = measure_signals(text, language)
    value = predict_values(classifier, measured, text)
    is_prose = (pl.Series(language, dtype=pl.String) == "text") | (measured["page_marker"] > 0)
    return measured.with_columns(
        pl.Series("educational_value", value, dtype=pl.Float32), identify_languages(text, is_prose.to_numpy())
    )


def serialize_classifier(classifier: Classifier) -> bytes:
    """Return the classifier as a skops archive: JSON and arrays, no pickle."""
    import skops.io

    state = {
        "format": _FORMAT,
        "signals": list(SIGNAL_NAMES),
        "ranker": classifier.ranker.state(),
        "slope": classifier.slope,
        "offset": classifier.offset,
        "num_labels": classifier.num_labels,
        "version": classifier.version,
    }
    return skops.io.dumps(state)


def deserialize_classifier(content: bytes, *, open_embedding: OpenEmbedding = open_hashed_embedding) -> Classifier:
    """Return the classifier that ``serialize_classifier`` stored.

    Args:
        content: The archive.
        open_embedding: Opens the embedding; the default opens the built-in one only.

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
            f"classifier file holds {sorted(found - _TRUSTED_TYPES)}, which a classifier does not need and could run "
            "code; do not load it: train the classifier again"
        )
    state: Any = skops.io.loads(content, trusted=sorted(found))
    if not isinstance(state, dict) or state.get("signals") != list(SIGNAL_NAMES) or state.get("format") != _FORMAT:
        raise ValueError("classifier file was trained on other signals than this version computes; train it again")
    return Classifier(
        ranker=open_ranker(state["ranker"], open_embedding),
        slope=float(state["slope"]),
        offset=float(state["offset"]),
        num_labels=int(state["num_labels"]),
        version=str(state["version"]),
    )
