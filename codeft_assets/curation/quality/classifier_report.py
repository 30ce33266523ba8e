"""Evaluation of a classifier on held-out documents: ranking, calibration, and its worst errors.

Invariant: a number that cannot be measured (no good or no poor document) is missing, not zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codeft_assets.curation.quality.classifier import Classifier, score_documents
from codeft_assets.curation.quality.labels import GOOD_LABEL, MAX_LABEL, POOR_LABEL, LabeledDocuments

_NUM_BINS, _NUM_TOP_FEATURES, _NUM_DISAGREEMENTS = 10, 20, 20
_MIN_GROUP = 10  # documents; the AUC of fewer is mostly chance
_EXCERPT_CHARS = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """The documents whose educational value lies in one tenth of 0..1."""

    low: float
    num_documents: int
    mean_value: float
    good_fraction: float
    """Share of them that are labeled good: equal to ``mean_value`` if calibrated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReport:
    """The ranking of the documents of one source or language among themselves."""

    num_documents: int
    good_fraction: float
    mean_value: float
    auc: float | None
    spearman: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A document on which classifier and label differ."""

    name: str
    label: int
    educational_value: float
    reason: str
    """The annotator's."""
    excerpt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierReport:
    """The model card's numbers, measured on held-out documents."""

    num_trained: int
    num_held_out: int
    num_left_out: int
    auc: float | None
    """Area under the ROC curve, labels of 3 or more against labels up to 1."""
    spearman: float | None
    """Rank correlation of educational value and label."""
    calibration_error: float | None
    """Mean distance of educational value and share of good labels over the bins, weighted by documents."""
    by_language: dict[str, GroupReport]
    by_origin: dict[str, GroupReport]
    calibration: tuple[CalibrationBin, ...]
    top_features: tuple[tuple[str, float], ...]
    """Name and share; empty where the ranker's features have no names."""
    worst_disagreements: tuple[Disagreement, ...]


def evaluate_classifier(classifier: Classifier, held_out: LabeledDocuments) -> ClassifierReport:
    """Return the ranking and calibration of ``classifier`` on ``held_out``."""
    value = score_documents(classifier, held_out.text, held_out.language)["educational_value"].to_numpy()
    bins = _calibration(held_out.label, value)
    return ClassifierReport(
        num_trained=classifier.num_labels,
        num_held_out=len(held_out),
        num_left_out=held_out.num_left_out,
        auc=ranking_auc(held_out.label, value),
        spearman=rank_correlation(held_out.label, value),
        calibration_error=_calibration_error(bins),
        by_language=_by_group(held_out.language.to_pylist(), held_out.label, value),
        by_origin=_by_group(list(held_out.origin), held_out.label, value),
        calibration=bins,
        top_features=_top_features(classifier),
        worst_disagreements=_worst_disagreements(held_out, value),
    )


def ranking_auc(label: npt.NDArray[np.int64], value: npt.NDArray[np.float32]) -> float | None:
    """Return the chance that a good document scores above a poor one; None without both kinds.

    Documents between good and poor are left out.
    """
    from sklearn.metrics import roc_auc_score

    is_clear = (label >= GOOD_LABEL) | (label <= POOR_LABEL)
    good = label[is_clear] >= GOOD_LABEL
    if good.all() or not good.any():
        return None
    return float(roc_auc_score(good, value[is_clear]))


def rank_correlation(label: npt.NDArray[np.int64], value: npt.NDArray[np.float32]) -> float | None:
    """Return Spearman's rank correlation; None where one side does not vary."""
    from scipy.stats import spearmanr

    if len(np.unique(label)) < 2 or len(np.unique(value)) < 2:
        return None
    return float(spearmanr(label, value).statistic)  # type: ignore[attr-defined]


def _by_group(
    groups: list[str], label: npt.NDArray[np.int64], value: npt.NDArray[np.float32]
) -> dict[str, GroupReport]:
    of_document = np.array(groups, dtype=object)
    found: dict[str, GroupReport] = {}
    for group in sorted(set(groups)):
        chosen = of_document == group
        is_enough = chosen.sum() >= _MIN_GROUP
        found[group] = GroupReport(
            num_documents=int(chosen.sum()),
            good_fraction=float((label[chosen] >= GOOD_LABEL).mean()),
            mean_value=float(value[chosen].mean()),
            auc=ranking_auc(label[chosen], value[chosen]) if is_enough else None,
            spearman=rank_correlation(label[chosen], value[chosen]) if is_enough else None,
        )
    return found


def _calibration(label: npt.NDArray[np.int64], value: npt.NDArray[np.float32]) -> tuple[CalibrationBin, ...]:
    # sklearn's calibration_curve gives the two means of a bin, but not the documents in it, which weight the error
    which = np.minimum((value * _NUM_BINS).astype(np.int64), _NUM_BINS - 1)
    return tuple(
        CalibrationBin(
            low=int(index) / _NUM_BINS,
            num_documents=int((which == index).sum()),
            mean_value=float(value[which == index].mean()),
            good_fraction=float((label[which == index] >= GOOD_LABEL).mean()),
        )
        for index in np.unique(which)
    )


def _calibration_error(bins: tuple[CalibrationBin, ...]) -> float | None:
    num = sum(row.num_documents for row in bins)
    return sum(row.num_documents * abs(row.mean_value - row.good_fraction) for row in bins) / num if num else None


def _top_features(classifier: Classifier) -> tuple[tuple[str, float], ...]:
    shares = classifier.ranker.feature_shares()
    return tuple(sorted(shares.items(), key=lambda entry: -entry[1])[:_NUM_TOP_FEATURES])


def _worst_disagreements(held_out: LabeledDocuments, value: npt.NDArray[np.float32]) -> tuple[Disagreement, ...]:
    gaps = np.abs(value - held_out.label / MAX_LABEL)
    worst = np.argsort(-gaps, kind="stable")[:_NUM_DISAGREEMENTS]
    return tuple(
        Disagreement(
            name=held_out.name[row],
            label=int(held_out.label[row]),
            educational_value=float(value[row]),
            reason=held_out.reason[row],
            excerpt=held_out.text[int(row)].as_py()[:_EXCERPT_CHARS],
        )
        for row in worst
    )
