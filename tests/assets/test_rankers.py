"""The linear model by hand: its kernel gives what scikit-learn's own decision function gives."""

import numpy as np
import pyarrow as pa
import pytest

from codeft_assets.curation.quality.classifier import fit_classifier
from codeft_assets.curation.quality.rankers import fit_linear, open_ranker
from tests.assets.test_classifier import LESSON, TABLE, documents


def test_the_compiled_answer_is_the_log_odds_of_logistic_regression():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import normalize

    labeled = documents()
    ranker, _ = fit_linear(labeled, None, seed=1)
    # the same words, by scikit-learn's own tokenizer and without hashing; a pair of the first word stands for its start
    texts = [f"{text.lower()}" for text in labeled.text.to_pylist()]
    counted = CountVectorizer(token_pattern=r"[a-z0-9_]+", ngram_range=(1, 2))
    counts = counted.fit_transform(texts).astype(float)
    idf = np.log((1 + len(texts)) / (1 + np.asarray((counts > 0).sum(axis=0)).ravel()))
    counts.data = 1 + np.log(counts.data)
    matrix = normalize(counts.multiply(idf).tocsr())
    model = LogisticRegression(C=10.0, solver="liblinear", random_state=1).fit(matrix, labeled.label >= 3)
    assert ranker.predict(None, labeled.text) == pytest.approx(model.decision_function(matrix), abs=0.05)


def test_the_linear_model_is_calibrated_with_its_intercept():
    one_third = documents().select(np.arange(80) % 4 != 1)  # good ones are the fewer
    classifier = fit_classifier(one_third, seed=1, kind="linear")
    lesson, table = (classifier.ranker.predict(None, pa.array([text])) for text in (LESSON.format(9), TABLE.format(9)))
    assert classifier.slope * lesson + classifier.offset > 0 > classifier.slope * table + classifier.offset


def test_a_ranker_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="ranker 'neural' is none of"):
        open_ranker({"kind": "neural"}, lambda state: None)
