import functools
import json
import os
import pickle
import sysconfig
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import skops.io
import xxhash

from codeft_assets.curation.documents import folded_hash
from codeft_assets.curation.quality.classifier import (
    deserialize_classifier,
    fit_classifier,
    score_documents,
    serialize_classifier,
)
from codeft_assets.curation.quality.classifier_report import evaluate_classifier, rank_correlation, ranking_auc
from codeft_assets.curation.quality.embedding import fit_embedding
from codeft_assets.curation.quality.labels import HELD_OUT_OF, Label, LabeledDocuments, parse_labels, resolve_labels

LESSON = (
    '"""Lesson {0}: why a list is reversed step by step."""\n'
    "def reverse_{0}(items):\n"
    '    """Return the items in reverse order, because we walk from the end.\n\n'
    '    >>> reverse_{0}([1, {0}])\n    """\n'
    "    # First take the last item, then the one before it.\n"
    "    return [items[-1 - index] for index in range(len(items))]\n"
)
TABLE = "{0:04d} 0x{0:08x} " + " ".join("0x%08x" % (7919 * at) for at in range(40)) + "\n"


def documents(num: int = 80) -> LabeledDocuments:
    texts = [LESSON.format(row) if row % 2 else TABLE.format(row) * 3 for row in range(num)]
    return LabeledDocuments(
        text=pa.array(texts, pa.large_string()),
        language=pa.array(["python"] * num),
        label=np.array([(3 + row // 2 % 3) if row % 2 else row // 2 % 3 for row in range(num)]),
        origin=tuple("even" if row % 4 < 2 else "odd" for row in range(num)),
        name=tuple(f"document-{row}" for row in range(num)),
        reason=tuple(f"reason-{row}" for row in range(num)),
        num_left_out=0,
    )


@pytest.fixture(scope="module", params=["forest", "linear"])
def classifier(request):
    return fit_classifier(documents(), seed=1, kind=request.param)


@pytest.fixture(scope="module")
def stored(classifier):
    return serialize_classifier(classifier)


@pytest.fixture(scope="module")
def state(stored):
    return skops.io.loads(stored, trusted=["sklearn.tree._tree.Tree"])


def test_a_lesson_scores_above_a_table(classifier):
    value = score_documents(classifier, pa.array([LESSON.format(9999), TABLE.format(9998)]), pa.array(["python"] * 2))
    assert value["educational_value"][0] > 0.8
    assert value["educational_value"][1] < 0.2


def test_values_are_float32_of_zero_to_one(classifier):
    value = score_documents(classifier, documents().text, documents().language)["educational_value"].to_numpy()
    assert value.dtype == np.float32
    assert ((value >= 0) & (value <= 1)).all()


def test_no_documents_have_no_values(classifier):
    assert len(score_documents(classifier, pa.array([], pa.large_string()), pa.array([], pa.string()))) == 0


def test_the_same_labels_and_seed_give_the_same_values(classifier):
    kind = classifier.ranker.state()["kind"]
    again = score_documents(fit_classifier(documents(), seed=1, kind=kind), documents().text, documents().language)
    assert again.equals(score_documents(classifier, documents().text, documents().language))


def test_a_stored_classifier_gives_the_same_values(classifier, stored):
    held = documents(10)
    assert score_documents(deserialize_classifier(stored), held.text, held.language).equals(
        score_documents(classifier, held.text, held.language)
    )


def ran(path: str) -> None:
    open(path, "w").close()


@pytest.mark.parametrize("poison", [os.system, functools.partial(os.system, "true"), ran, pytest.approx(1)])
def test_a_poisoned_classifier_file_is_refused(state, poison):
    with pytest.raises(ValueError, match="could run code; do not load it"):
        deserialize_classifier(skops.io.dumps(state | {"ranker": poison}))


def test_a_pickle_is_refused_without_being_read(tmp_path):
    class Bomb:
        def __reduce__(self):
            return ran, (str(tmp_path / "exploded"),)

    with pytest.raises(ValueError, match="no skops archive"):
        deserialize_classifier(pickle.dumps(Bomb()))
    assert not (tmp_path / "exploded").exists()


def test_a_classifier_of_other_signals_is_refused(state):
    with pytest.raises(ValueError, match="other signals"):
        deserialize_classifier(skops.io.dumps(state | {"signals": ["one"], "ranker": None}))


@pytest.mark.parametrize("labels", [[0] * 80, [5] * 80])
def test_one_kind_of_label_cannot_train(labels):
    one_kind = documents().select(np.ones(80, dtype=bool))
    object.__setattr__(one_kind, "label", np.array(labels))
    with pytest.raises(ValueError, match="cannot train"):
        fit_classifier(one_kind, seed=1)


def test_too_few_labels_cannot_train():
    with pytest.raises(ValueError, match="49 labeled documents"):
        fit_classifier(documents().select(np.arange(80) < 49), seed=1)


def test_a_text_has_one_unit_vector_wherever_it_stands():
    texts = documents().text
    embedding = fit_embedding(texts, seed=1, num_dimensions=8)
    vectors = embedding.vectors(texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(embedding.vectors(texts.slice(5, 1))[0], vectors[5])


def test_a_word_of_every_text_weighs_nothing():
    texts = pa.array([f"common word{row} word{row + 1}" for row in range(60)])
    assert fit_embedding(texts, seed=1, num_dimensions=8).weights.min() == 0


def test_an_empty_text_has_the_zero_vector():
    embedding = fit_embedding(documents().text, seed=1, num_dimensions=8)
    assert not embedding.vectors(pa.array(["", "  \n"])).any()


def test_similar_texts_have_similar_vectors():
    embedding = fit_embedding(documents().text, seed=1, num_dimensions=8)
    lesson, table, other_lesson = embedding.vectors(pa.array([LESSON.format(1), TABLE.format(2), LESSON.format(3)]))
    assert lesson @ other_lesson > 0.8 > lesson @ table


def test_the_report_ranks_perfectly_what_is_easy(classifier):
    report = evaluate_classifier(classifier, documents(40))
    assert report.auc == 1
    assert report.spearman is not None
    assert report.spearman > 0.8
    assert report.num_held_out == 40 == sum(row.num_documents for row in report.calibration)
    assert {name: group.auc for name, group in report.by_origin.items()} == {"even": 1, "odd": 1}
    assert [group.num_documents for group in report.by_language.values()] == [40]


def test_worst_disagreements_come_first(classifier):
    wrong = documents(40)
    wrong.label[0] = 5
    report = evaluate_classifier(classifier, wrong)
    worst = report.worst_disagreements[0]
    assert (worst.name, worst.label, worst.reason) == ("document-0", 5, "reason-0")
    assert TABLE.format(0).startswith(worst.excerpt[:80])
    assert len(report.worst_disagreements) == 20


@pytest.mark.parametrize("label", [[3, 4], [0, 1], [2, 2]])
def test_an_auc_without_both_kinds_is_missing(label):
    assert ranking_auc(np.array(label), np.array([0.1, 0.2], dtype=np.float32)) is None


def test_labels_of_two_take_no_side_in_the_auc():
    assert ranking_auc(np.array([0, 2, 5]), np.array([0.5, 0.9, 0.6], dtype=np.float32)) == 1


def test_a_constant_has_no_rank_correlation():
    assert rank_correlation(np.array([1, 2]), np.array([0.5, 0.5], dtype=np.float32)) is None


def line(text: bytes = b"x = 1\n", **changes) -> str:
    row = {"kind": "package", "package": "cpython", "version": "3.11", "path": "x.py", "label": 3, "reason": "short"}
    return json.dumps(row | {"content_hash": xxhash.xxh3_128_hexdigest(text)} | changes)


def test_a_label_of_a_changed_or_absent_file_is_left_out_and_counted():
    contents = {"same.py": b"a = 1\n", "changed.py": b"b = 2\n"}
    labels = parse_labels(
        [line(b"a = 1\n", path="same.py"), line(b"b = 1\n", path="changed.py"), line(b"c", path="gone.py")]
    )
    training, held_out = resolve_labels(labels, read_file=lambda label: contents.get(label.path), samples={})
    assert [*training.name, *held_out.name] == ["cpython/same.py"]
    assert training.num_left_out + held_out.num_left_out == 2


def test_a_sample_is_found_by_its_content():
    key = folded_hash("SELECT 1;")
    labels = [Label(kind="sample", source="o1-journey", content_hash=key, label=2, reason="one query")]
    training, held_out = resolve_labels(labels, read_file=lambda label: None, samples={key: "SELECT 1;"})
    assert [*training.text.to_pylist(), *held_out.text.to_pylist()] == ["SELECT 1;"]
    assert [*training.origin, *held_out.origin] == ["o1-journey"]


def test_sides_depend_on_content_only_and_are_disjoint():
    contents = {f"{row}.py": f"x = {row}\n".encode() for row in range(200)}
    lines = [line(content, path=path) for path, content in contents.items()]
    read_file = lambda label: contents.get(label.path)  # noqa: E731  a stub of one expression
    training, held_out = resolve_labels(parse_labels(lines), read_file=read_file, samples={})
    assert not set(training.name) & set(held_out.name)
    assert len(training) + len(held_out) == 200
    assert 200 / HELD_OUT_OF * 0.6 < len(held_out) < 200 / HELD_OUT_OF * 1.4
    fewer, _ = resolve_labels(parse_labels(reversed(lines[:100])), read_file=read_file, samples={})
    assert set(fewer.name) <= set(training.name)


def test_the_language_of_a_labeled_file_is_its_suffix():
    labels = parse_labels([line(b"x", path="a.js"), line(b"y", path="b.py"), line(b"words", path="LICENSE")])
    sides = resolve_labels(
        labels, read_file=lambda label: {"a.js": b"x", "b.py": b"y"}.get(label.path, b"words"), samples={}
    )
    assert sorted([*sides[0].language.to_pylist(), *sides[1].language.to_pylist()]) == ["javascript", "python", "text"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{not json"], "line 1 is no label"),
        (['{"kind": "package"}'], "line 1 is no label"),
        ([line(), line(label=4)], "line 2 labels .* a second time"),
        ([line(label=6)], "label 6 is not an integer of 0..5"),
        ([line(label=2.5)], "label 2.5 is not"),
        ([line(reason=" ")], "has no reason"),
        ([line(kind="web")], "none of 'package', 'sample', 'written'"),
    ],
)
def test_a_malformed_label_is_refused_by_line(lines, message):
    with pytest.raises(ValueError, match=message):
        parse_labels(lines)


def test_a_small_group_has_no_ranking(classifier):
    few = evaluate_classifier(classifier, documents(8)).by_origin["even"]
    assert (few.num_documents, few.auc, few.spearman) == (4, None, None)


def test_the_calibration_error_is_the_distance_of_value_and_share(classifier):
    report = evaluate_classifier(classifier, documents(40))
    by_hand = sum(row.num_documents * abs(row.mean_value - row.good_fraction) for row in report.calibration) / 40
    assert report.calibration_error == pytest.approx(by_hand)
    assert by_hand < 0.1


def test_an_unknown_kind_of_classifier_is_refused():
    with pytest.raises(ValueError, match="'neural' does not exist; choose one of \\['forest', 'linear'\\]"):
        fit_classifier(documents(), seed=1, kind="neural")


SHIPPED = sorted((resources.files("codeft_assets") / "labels").iterdir(), key=lambda path: path.name)


def test_shipped_labels_are_one_judgment_a_document_and_use_the_whole_scale():
    labels = parse_labels(line for path in SHIPPED for line in path.read_text(encoding="utf-8").splitlines())
    counts = np.bincount([label.label for label in labels], minlength=6)
    assert counts.min() >= 0.04 * len(labels)
    assert counts.max() <= 0.4 * len(labels)


def test_shipped_labels_of_the_standard_library_resolve_where_it_is_unchanged():
    labels = parse_labels(line for path in SHIPPED for line in path.read_text(encoding="utf-8").splitlines())
    own = [label for label in labels if label.package == "cpython"]
    library = Path(sysconfig.get_path("stdlib"))

    def read_file(label: Label) -> bytes | None:
        path = library / label.path
        return path.read_bytes() if path.is_file() else None

    training, held_out = resolve_labels(own, read_file=read_file, samples={})
    found = len(training) + len(held_out)
    assert found + training.num_left_out + held_out.num_left_out == len(own)
    assert found > 0  # small pure modules such as this.py have not changed in years
