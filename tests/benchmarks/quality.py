"""Measures the quality filter: how well it ranks documents it has not seen, and how fast it runs beside its peers.

    python tests/benchmarks/quality.py --json

All speeds are in CPU time of one run, so other processes do not change them. The peers `lightgbm` and `datatrove`
(with `spacy`) are measured where they are installed; a number that was not measured is null.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from codeft_assets.annotators.shipped_labels import labeled_documents
from codeft_assets.curation.ingest.programming_languages import LANGUAGE_BY_SUFFIX
from codeft_assets.curation.quality.classifier import fit_classifier, predict_values, score_documents
from codeft_assets.curation.quality.classifier_report import evaluate_classifier, rank_correlation, ranking_auc
from codeft_assets.curation.quality.embedding import fit_embedding
from codeft_assets.curation.quality.labels import MAX_LABEL, LabeledDocuments
from codeft_assets.curation.quality.rankers import FITTERS, build_features
from codeft_assets.curation.quality.rules import drop_reasons
from codeft_assets.curation.quality.signals import measure_signals
from codeft_assets.curation.quality.thresholds import Threshold, minimum_by_language
from codeft_assets.sources import SOURCES

SEED = 0
MIN_UNSEEN_DOCUMENTS = 20
NUM_FILES_A_LANGUAGE = 400
NUM_PEER_BYTES = 1_000_000  # datatrove reads half a megabyte a second


def print_progress(line: str) -> None:
    print(line, file=sys.stderr)


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def together(first: LabeledDocuments, second: LabeledDocuments) -> LabeledDocuments:
    return LabeledDocuments(
        text=pa.concat_arrays([first.text, second.text]),
        language=pa.concat_arrays([first.language, second.language]),
        label=np.concatenate([first.label, second.label]),
        origin=first.origin + second.origin,
        name=first.name + second.name,
        reason=first.reason + second.reason,
        num_left_out=first.num_left_out + second.num_left_out,
    )


def family(origin: str) -> str:
    """Sample rows repeat each other across sources, so they are seen or unseen together."""
    return "samples" if origin in SOURCES else origin


def unseen_sources(documents: LabeledDocuments) -> dict[str, tuple[float, float]]:
    """Return AUC and Spearman on each package, and on all sample rows, of a forest that saw none of its documents."""
    families = np.array([family(origin) for origin in documents.origin])
    found: dict[str, tuple[float, float]] = {}
    for name, num in Counter(families.tolist()).most_common():
        unseen = documents.select(families == name)
        if num < MIN_UNSEEN_DOCUMENTS or ranking_auc(unseen.label, unseen.label.astype(np.float32)) is None:
            continue
        classifier = fit_classifier(documents.select(families != name), seed=SEED)
        value = score_documents(classifier, unseen.text, unseen.language)["educational_value"].to_numpy()
        auc, rank = ranking_auc(unseen.label, value), rank_correlation(unseen.label, value)
        assert auc is not None, f"{name} has good and poor documents"
        assert rank is not None, f"{name} has several labels"
        found[name] = (auc, rank)
        print_progress(f"  unseen {name:24} n={num:4} auc={auc:.3f} spearman={rank:.3f}")
    return found


def boosted_values(training: LabeledDocuments, held_out: LabeledDocuments) -> np.ndarray:
    """Return the answers of LightGBM on the forest's features."""
    import lightgbm

    embedding = fit_embedding(training.text, seed=SEED)
    model = lightgbm.LGBMRegressor(n_estimators=200, learning_rate=0.05, random_state=SEED, n_jobs=1, verbose=-1)
    model.fit(
        build_features(embedding, measure_signals(training.text, training.language), training.text),
        training.label / MAX_LABEL,
    )
    return model.predict(build_features(embedding, measure_signals(held_out.text, held_out.language), held_out.text))


def side_by_side(training: LabeledDocuments, held_out: LabeledDocuments) -> dict[str, tuple[float, float]]:
    """Return AUC and Spearman of each kind of classifier on the held-out documents."""
    found = {}
    for kind in FITTERS:
        classifier = fit_classifier(training, seed=SEED, kind=kind)
        value = score_documents(classifier, held_out.text, held_out.language)["educational_value"].to_numpy()
        found[kind] = compare(kind, held_out.label, value)
        error = evaluate_classifier(classifier, held_out).calibration_error
        print_progress(f"  {kind:10} calibration error {error:.3f}")
    if importlib.util.find_spec("lightgbm"):
        found["lightgbm"] = compare("lightgbm", held_out.label, boosted_values(training, held_out))
    return found


def library_texts() -> list[str]:
    """Return the standard library's Python files, in order of their paths."""
    files = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files if "site-packages" not in file.parts]
    return [text for text in texts if text.strip()]


def filter_all(classifier: Any, text: pa.Array, language: pa.Array) -> pl.DataFrame:
    scored = score_documents(classifier, text, language).with_columns(
        pl.lit("raw").alias("format"),
        pl.lit("code").alias("domain"),
        pl.Series("language", language),
        pl.lit(0.25).alias("minimum_educational_value"),
    )
    return drop_reasons(scored)


def speeds(classifier: Any, texts: list[str], linear: Any = None) -> float:
    """Return megabytes per CPU second of signals, embedding, forest and rules; tell each part's on the way."""
    text, language = pa.array(texts, pa.large_string()), pa.array(["python"] * len(texts))
    megabytes = sum(len(one.encode()) for one in texts) / 1e6
    filter_all(classifier, text.slice(0, 10), language.slice(0, 10))  # compiles
    measured = measure_signals(text, language)
    matrix = build_features(classifier.ranker.embedding, measured, text)
    linear = classifier if linear is None else linear
    predict_values(linear, measured.head(2), text.slice(0, 2))  # compiles
    parts = {
        "signals": lambda: measure_signals(text, language),
        "embedding": lambda: classifier.ranker.embedding.vectors(text),
        "forest": lambda: classifier.ranker.trees.predict(matrix),
        "linear": lambda: predict_values(linear, measured, text),
    }
    for name, work in parts.items():
        seconds = cpu_seconds(work)
        print_progress(f"  {name:10} {megabytes / seconds:8.1f} MB/s/core {len(texts) / seconds:9.0f} documents/s/core")
    seconds = cpu_seconds(lambda: filter_all(classifier, text, language))
    print_progress(f"  {'all':10} {megabytes / seconds:8.1f} MB/s/core {len(texts) / seconds:9.0f} documents/s/core")
    return megabytes / seconds


def package_files() -> tuple[list[str], list[str]]:
    """Return texts and languages of the installed packages' files, a few hundred of each kind."""
    files = [
        path for path in sorted(Path(sysconfig.get_path("purelib")).rglob("*")) if path.suffix in LANGUAGE_BY_SUFFIX
    ]
    chosen = []
    for suffix in LANGUAGE_BY_SUFFIX:
        of_suffix = [path for path in files if path.suffix == suffix and 500 < path.stat().st_size < 100_000]
        chosen += of_suffix[:: max(len(of_suffix) // NUM_FILES_A_LANGUAGE, 1)]
    language = [LANGUAGE_BY_SUFFIX[path.suffix] for path in chosen]
    return [path.read_text(encoding="utf-8", errors="replace") for path in chosen], language


def files_of(jsonl: list[Path]) -> tuple[list[str], list[str]]:
    """Return texts and languages of JSON Lines (``text``, ``path``; compressed or not), a few hundred of each."""
    found: dict[str, list[str]] = {}
    for file in jsonl:
        with pa.input_stream(str(file), compression="detect") as stream:
            rows = [json.loads(line) for line in stream.read().splitlines()]
        for row in rows:
            if (suffix := Path(row["path"]).suffix) in LANGUAGE_BY_SUFFIX and 200 < len(row["text"]) < 100_000:
                found.setdefault(LANGUAGE_BY_SUFFIX[suffix], []).append(row["text"])
    some = {language: texts[:: max(len(texts) // NUM_FILES_A_LANGUAGE, 1)] for language, texts in found.items()}
    return [text for texts in some.values() for text in texts], [one for one in some for _ in some[one]]


def drop_share_by_language(
    classifier: Any, texts: list[str], language: list[str], minimum: float = 0.25
) -> dict[str, dict[str, float]]:
    """Return the share of files below ``minimum`` and below what each language must reach."""
    text = pa.array(texts, pa.large_string())
    values = pl.DataFrame({"language": language}).hstack(
        score_documents(classifier, text, pa.array(language)).select("educational_value")
    )
    reached = minimum_by_language(values, Threshold(value=minimum))
    calibrated = pl.col("language").replace_strict(reached, default=reached[""], return_dtype=pl.Float64)
    value = pl.col("educational_value")
    shares = values.group_by("language").agg(
        files=pl.len(), median=value.median(), fixed=(value < minimum).mean(), calibrated=(value < calibrated).mean()
    )
    return {row.pop("language"): row for row in shares.sort("language").iter_rows(named=True)}


def datatrove_speed(texts: list[str]) -> float:
    """Return megabytes per CPU second of datatrove's FineWeb chain; a dropped document leaves the chain, as there."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    chain = (
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    )

    def keeps(document: Document) -> bool:
        return all(step.filter(document) is True for step in chain)

    keeps(Document(text=texts[0], id="warm-up"))
    documents = [Document(text=text, id=str(row)) for row, text in enumerate(texts)]
    kept = 0

    def run() -> None:
        nonlocal kept
        kept = sum(keeps(document) for document in documents)

    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    seconds = cpu_seconds(run)
    print_progress(f"  datatrove  {megabytes / seconds:8.2f} MB/s/core, kept {kept} of {len(documents)}")
    return megabytes / seconds


def first_bytes(texts: list[str], num_bytes: int) -> list[str]:
    """Return every n-th text so that about ``num_bytes`` remain: the same mix, less of it."""
    step = max(1, sum(map(len, texts)) // num_bytes)
    return texts[::step]


def compare(name: str, label: np.ndarray, value: np.ndarray) -> tuple[float, float]:
    auc, rank = ranking_auc(label, value.astype(np.float32)), rank_correlation(label, value.astype(np.float32))
    assert auc is not None, "there are good and poor documents"
    assert rank is not None, "labels and values vary"
    print_progress(f"  {name:10} auc={auc:.4f} spearman={rank:.4f}")
    return auc, rank


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true", help="end with one JSON object on standard output")
    arguments.add_argument("--jsonl", type=Path, nargs="*", default=[], help="files that no label comes from")
    options = arguments.parse_args()
    wants_json = options.json
    training, held_out = labeled_documents(SOURCES.values())
    print_progress(f"{len(training)} training and {len(held_out)} held-out documents")
    print_progress(
        f"{training.num_left_out + held_out.num_left_out} labels left out (not installed, or another version)"
    )
    classifier = fit_classifier(training, seed=SEED)
    report = evaluate_classifier(classifier, held_out)
    print_progress("held out:")
    found = side_by_side(training, held_out)
    value = score_documents(classifier, held_out.text, held_out.language)["educational_value"].to_numpy()
    is_file = np.array([family(origin) != "samples" for origin in held_out.origin])
    compare("  files", held_out.label[is_file], value[is_file])
    unseen = unseen_sources(together(training, held_out))
    texts = library_texts()
    speed = speeds(classifier, texts, fit_classifier(training, seed=SEED, kind="linear"))
    ratio = None
    if importlib.util.find_spec("datatrove") and importlib.util.find_spec("spacy"):
        some = first_bytes(texts, NUM_PEER_BYTES)
        ratio = speeds(classifier, some) / datatrove_speed(some)
    if wants_json:
        aucs, ranks = zip(*unseen.values(), strict=True) if unseen else ((), ())
        numbers = {
            "heldout_auc": report.auc,
            "heldout_spearman": report.spearman,
            "unseen_source_auc": float(np.mean(aucs)) if unseen else None,
            "mb_per_second_per_core": speed,
            "ratio_to_datatrove": ratio,
            "unseen_source_spearman": float(np.mean(ranks)) if unseen else None,
            "unseen_source_auc_worst": min(aucs, default=None),
            "unseen_source_spearman_worst": min(ranks, default=None),
            "heldout_by_kind": {kind: {"auc": auc, "spearman": rank} for kind, (auc, rank) in found.items()},
            "calibration_error": report.calibration_error,
            "num_training": len(training),
            "num_held_out": len(held_out),
            "heldout_by_language": {
                name: {"documents": group.num_documents, "auc": group.auc, "spearman": group.spearman}
                for name, group in report.by_language.items()
            },
            "drop_share_by_language": drop_share_by_language(
                classifier, *(files_of(options.jsonl) if options.jsonl else package_files())
            ),
            "num_labels_left_out": training.num_left_out + held_out.num_left_out,
        }
        print(json.dumps(numbers))


if __name__ == "__main__":
    main()
