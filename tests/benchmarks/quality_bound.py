"""What bounds the ranking of a source that no label comes from: labels, their number, or what the ranker sees.

    python tests/benchmarks/quality_bound.py --json [--encoder MODEL]

Spearman by source, of a forest that saw none of it: with all other labels, with a half and a quarter of them (does more
labeling help?), with four fifths of the source's own (does the source's style hide it?), and of a second reader, who
labeled a sample of the documents blind (docs/measured/second_reading.csv; do the labels agree with themselves?). With
``--encoder`` the forest reads the vectors of a model instead of words.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
from quality import MIN_UNSEEN_DOCUMENTS, family, together

from codeft_assets.annotators.hub_encoder import open_encoder
from codeft_assets.annotators.shipped_labels import labeled_documents
from codeft_assets.curation.quality.classifier_report import rank_correlation, ranking_auc
from codeft_assets.curation.quality.embedding import fit_embedding
from codeft_assets.curation.quality.labels import MAX_LABEL
from codeft_assets.curation.quality.rankers import build_features
from codeft_assets.curation.quality.signals import measure_signals
from codeft_assets.sources import SOURCES

SECOND_READING = Path(__file__).parents[2] / "docs" / "measured" / "second_reading.csv"
NUM_TREES = 100


def predict(matrix, documents, training, rows):
    from sklearn.ensemble import ExtraTreesRegressor

    trees = ExtraTreesRegressor(NUM_TREES, max_features=1 / 3, min_samples_leaf=2, random_state=0, n_jobs=1)
    label = documents.label[training] / MAX_LABEL
    return trees.fit(matrix[training], label, sample_weight=documents.weight[training]).predict(matrix[rows])


def with_own_labels(matrix, documents, others, rows):
    from sklearn.model_selection import KFold

    predicted = np.zeros(len(rows))
    for own, unseen in KFold(5, shuffle=True, random_state=0).split(rows):
        predicted[unseen] = predict(matrix, documents, np.concatenate([others, rows[own]]), rows[unseen])
    return predicted


def by_source(documents, matrix):
    families = np.array([family(origin) for origin in documents.origin])
    found = {}
    for name in sorted(set(families.tolist())):
        rows, others = np.flatnonzero(families == name), np.flatnonzero(families != name)
        label = documents.label[rows]
        if len(rows) < MIN_UNSEEN_DOCUMENTS or ranking_auc(label, label.astype(np.float32)) is None:
            continue
        shuffled = np.random.default_rng(0).permutation(others)
        predicted = {
            "unseen": predict(matrix, documents, others, rows),
            "half_the_labels": predict(matrix, documents, shuffled[: len(others) // 2], rows),
            "a_quarter": predict(matrix, documents, shuffled[: len(others) // 4], rows),
            "own_labels_seen": with_own_labels(matrix, documents, others, rows),
        }
        measured = {kind: round(rank_correlation(documents.label[rows], value), 3) for kind, value in predicted.items()}
        found[name] = {"documents": len(rows), **measured}
        print(name, found[name], file=sys.stderr)
    return found


def second_reader():
    """Return Spearman and the share of labels that differ by one at most, of two readers of the same documents."""
    with SECOND_READING.open() as file:
        rows = list(csv.DictReader(file))
    first, second = (np.array([int(row[name]) for row in rows]) for name in ("label", "second_label"))
    agreement = rank_correlation(first, second.astype(np.float32))
    return {
        "documents": len(rows),
        "spearman": round(agreement, 3),
        "within_one": round(float((abs(first - second) <= 1).mean()), 3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--encoder", help="a Hub id or a folder; a GPU reads all documents in a minute")
    parser.add_argument("--encoder-tokens", type=int, default=512)
    options = parser.parse_args()
    documents = together(*labeled_documents(SOURCES.values()))
    if options.encoder:
        embedding = open_encoder(options.encoder, max_tokens=options.encoder_tokens)
    else:
        embedding = fit_embedding(documents.text, seed=0)
    signals = measure_signals(documents.text, documents.language)
    sources = by_source(documents, build_features(embedding, signals, documents.text))
    kinds = [kind for kind in next(iter(sources.values())) if kind != "documents"]
    means = {kind: round(float(np.mean([source[kind] for source in sources.values()])), 3) for kind in kinds}
    result = {"mean": means, "second_reader": second_reader(), "sources": sources}
    print(json.dumps(result, indent=1) if options.json else means)


if __name__ == "__main__":
    main()
