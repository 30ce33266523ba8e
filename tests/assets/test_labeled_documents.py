from dataclasses import replace

import pyarrow as pa
import pytest

from codeft_assets.annotators.shipped_labels import (
    INTERPRETER,
    labeled_documents,
    read_labeled_file,
    sample_texts,
    shipped_labels,
)
from codeft_assets.curation.quality.classifier import fit_classifier, score_documents
from codeft_assets.curation.quality.classifier_report import evaluate_classifier
from codeft_assets.curation.quality.labels import WRITTEN
from codeft_assets.sources import SOURCES


def test_every_sample_label_finds_its_row():
    texts = sample_texts(SOURCES.values())
    lost = [label.reason for label in shipped_labels() if label.kind == "sample" and label.content_hash not in texts]
    assert not lost, "a sample row changed after it was judged: read it again and renew labels/samples.jsonl"


def test_labels_are_found_or_left_out_and_counted():
    training, held_out = labeled_documents(SOURCES.values())
    found = len(training) + len(held_out)
    assert found + training.num_left_out + held_out.num_left_out == len(shipped_labels())
    # The sample rows, and of each interpreter at least the files that never change, such as this.py.
    assert found >= 200
    assert INTERPRETER in {*training.origin, *held_out.origin}


def test_a_written_label_brings_its_text_and_counts_as_three_files():
    training, held_out = labeled_documents(SOURCES.values())
    for documents in (training, held_out):
        is_written = [origin == WRITTEN for origin in documents.origin]
        assert {"go", "rust", "shell", "text"} <= {*training.language.to_pylist()}
        assert any(is_written)
        assert documents.weight.tolist() == [3.0 if written else 1.0 for written in is_written]


def test_a_written_text_that_was_changed_has_to_be_labeled_again():
    label = next(label for label in shipped_labels() if label.kind == WRITTEN)
    with pytest.raises(ValueError, match="label it again"):
        replace(label, text=label.text + "\n")


# written like a language's first page of exercises: terse, without a comment, and right
GO = "package main\n\nfunc fib(n int) int {\n\ta, b := 0, 1\n\tfor ; n > 0; n-- {\n\t\ta, b = b, a+b\n\t}" + (
    "\n\treturn a\n}\n"
)
GETTERS = "package main\n\n" + "".join(
    f'func (x *Order) Get{name}() string {{\n\tif x != nil {{\n\t\treturn x.{name}\n\t}}\n\treturn ""\n}}\n\n'
    for name in ("City", "Street", "Region", "Country", "Zone")
)


def test_a_terse_program_is_worth_more_than_accessors():
    training, _ = labeled_documents(SOURCES.values())
    scored = score_documents(fit_classifier(training, seed=0), pa.array([GO, GETTERS]), pa.array(["go", "go"]))
    terse, generated = scored["educational_value"].to_list()
    assert terse > 2 * generated


def test_a_file_of_a_package_that_is_not_installed_is_absent():
    label = next(label for label in shipped_labels() if label.kind == "package")
    assert read_labeled_file(replace(label, package="no-such-package-anywhere")) is None
    assert read_labeled_file(replace(label, path="no/such/file.py")) is None


def test_the_shipped_labels_teach_a_classifier_that_ranks_held_out_documents():
    training, held_out = labeled_documents(SOURCES.values())
    report = evaluate_classifier(fit_classifier(training, seed=0), held_out)
    assert report.auc is not None
    assert report.spearman is not None
    # Measured .974 and .848 with every document installed; fewer are on another interpreter.
    assert report.auc >= 0.93
    assert report.spearman >= 0.75
