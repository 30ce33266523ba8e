"""Thresholds: a value or a share of the documents, and what they cost a source."""

import polars as pl
import pytest

from codeft_assets.curation.quality.thresholds import (
    NO_THRESHOLD,
    Threshold,
    keep_rates,
    minimum_by_language,
    nearest_to_threshold,
    parse_threshold,
)

VALUES = pl.Series([0.9, 0.1, 0.5, 0.3, 0.7], dtype=pl.Float32)


@pytest.mark.parametrize(
    ("threshold", "minimum"),
    [
        (NO_THRESHOLD, None),
        (Threshold(value=0.4), 0.4),
        (Threshold(quantile=0.0), 0.1),
        (Threshold(quantile=0.2), 0.3),
        (Threshold(quantile=0.39), 0.3),
        (Threshold(quantile=0.4), 0.5),
        (Threshold(quantile=1.0), 0.9),
    ],
)
def test_a_quantile_drops_at_most_its_share(threshold, minimum):
    assert threshold.minimum(VALUES) == (None if minimum is None else pytest.approx(minimum))
    if threshold.quantile is not None:
        assert (threshold.minimum(VALUES) > VALUES).sum() <= threshold.quantile * len(VALUES)


def test_documents_with_equal_values_are_kept_together():
    assert Threshold(quantile=0.5).minimum(pl.Series([0.2, 0.2, 0.2, 0.9])) == 0.2


def test_a_source_without_documents_has_no_minimum():
    assert Threshold(quantile=0.5).minimum(VALUES.head(0)) is None


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        ("0.3", Threshold(value=0.3)),
        ("20%", Threshold(quantile=0.2)),
        (" none ", NO_THRESHOLD),
        ("0", Threshold(value=0.0)),
    ],
)
def test_a_threshold_is_said_in_words(text, threshold):
    assert parse_threshold(text) == threshold


@pytest.mark.parametrize("text", ["", "high", "120%", "-0.1", "%", "nan"])
def test_what_is_no_threshold_is_refused(text):
    with pytest.raises(ValueError, match="is neither an educational value in 0..1 such as 0.3"):
        parse_threshold(text)


def test_value_and_quantile_together_are_refused():
    with pytest.raises(ValueError, match="value 0.1 and quantile 0.2: give one of the two"):
        Threshold(value=0.1, quantile=0.2)


DECIDED = pl.DataFrame(
    {
        "document_id": ["a", "b", "c", "d"],
        "source": ["web", "web", "web", "book"],
        "num_chars": [3000, 3000, 30_000, 300],
        "educational_value": [0.9, 0.5, 0.2, 0.6],
        "minimum_educational_value": [0.4, 0.4, 0.4, None],
        "drop_reason": [None, None, "low_educational_value", None],
    }
)


def test_the_yield_of_a_source_is_told_in_documents_and_tokens():
    book, web = keep_rates([DECIDED[:1], DECIDED[1:]]).sort("source").to_dicts()
    assert (web["num_documents"], web["num_kept"]) == (3, 2)
    assert web["token_yield"] == pytest.approx(6 / 36, rel=1e-3)
    assert (web["median_kept"], web["median_dropped"], web["minimum"]) == (0.7, 0.2, 0.4)
    assert (book["token_yield"], book["median_dropped"], book["minimum"]) == (1, None, None)


def test_the_documents_next_to_a_threshold_are_the_worst_kept_and_the_best_dropped():
    kept, dropped = nearest_to_threshold([DECIDED[2:], DECIDED[:2]])
    assert kept["document_id"].to_list() == ["d", "b"]
    assert dropped["document_id"].to_list() == ["c"]


def values_of(**by_language):
    parts = [pl.DataFrame({"language": [name] * len(v), "educational_value": v}) for name, v in by_language.items()]
    return pl.concat(parts).with_columns(pl.col("educational_value").cast(pl.Float64))


def test_a_value_drops_from_another_language_at_most_the_share_it_drops_from_python():
    python = [n / 100 for n in range(100)]
    rust = [n / 400 for n in range(100)]  # the same order on a scale four times as low
    values = values_of(python=python, rust=rust, text=rust, go=python[:10], java=[0.9] * 60)
    found = minimum_by_language(values, Threshold(value=0.4))
    assert found == {"": 0.4, "java": 0.4, "rust": 0.1}
    assert sum(value < found["rust"] for value in rust) == sum(value < 0.4 for value in python)


def test_without_python_or_a_value_the_minimum_is_the_sources_own():
    values = values_of(rust=[0.1] * 60, python=[0.5] * 49)
    assert minimum_by_language(values, Threshold(value=0.4)) == {"": 0.4}
    assert minimum_by_language(values, NO_THRESHOLD) == {}
    assert minimum_by_language(values, Threshold(quantile=0.6)) == {"": 0.5}
