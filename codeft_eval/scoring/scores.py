"""A score with everything that identifies it, as files: scores.json (deterministic), samples.jsonl, run.json.

An item may have several samples. They come item by item, so that an item's samples stand together; counts are of
samples, and metrics treat the item as the unit.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from codeft_assets.base import report
from codeft_assets.base.files import write_atomically
from codeft_eval.benchmarks.benchmark import FEW_SHOT, RAW, Benchmark
from codeft_eval.benchmarks.catalogue import data_sha256
from codeft_eval.scoring.samples import (
    SAMPLES_FILE,
    Sample,
    pass_rates,
    read_samples,
    samples_table,
    solution_bits,
)
from codeft_eval.statistics.intervals import Estimate, bits_per_byte, mean_of_items, pass_at_k, proportion

FORMAT = 3
REPLAY_PREFIX = "replay:"
"""Begins the hash of a model of which only completions are here."""
AS_WRITTEN = "as written"
"""The end of a prompt that needed no change for the tokenizer."""
PASS_AT_1, BITS_PER_BYTE = "pass@1", "bits_per_byte"
_PASS_AT = (5, 10, 100)
"""The other k that are reported, where as many samples were drawn."""
SCORES_FILE, RUN_FILE = "scores.json", "run.json"
BESIDE = "beside"
"""The folder in a score's own of those that it is read beside: a strategy's control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One model on one benchmark."""

    benchmark: str
    title: str
    kind: str
    version: int
    protocol_name: str = RAW
    protocol: str
    """In words."""
    prompt_end: str = AS_WRITTEN
    """As the benchmark writes it, or what was done for the tokenizer."""
    data_sha256: str
    model: str
    model_hash: str
    settings: dict[str, Any]
    """Settings of generation; empty for a replay."""
    tier: str
    tainted: bool
    """Programs ran unconfined, so nothing vouches for the verdicts."""
    tool_versions: dict[str, str]
    """Of the compilers, interpreters and programs that verdicts depend on; empty where answers are compared."""
    num_items: int
    num_items_total: int
    """In the benchmark; more than num_items when a limit was set."""
    num_samples: int
    """Completions an item."""
    num_passed: int
    """Samples, as the two below."""
    num_scored: int
    num_unscored: int
    unscored_reasons: dict[str, int]
    failed_reasons: dict[str, int]
    metrics: dict[str, Estimate]
    """Absent when nothing could be scored: a missing score is missing."""
    samples_sha256: str

    @property
    def name(self) -> str:
        """The benchmark, with the protocol where it is not the one of base models: a name for files."""
        return score_name(self.benchmark, self.protocol_name)

    @property
    def has_likelihood_only(self) -> bool:
        """Whether there is a likelihood, and no item has an answer that a completion could be compared with."""
        return set(self.unscored_reasons) == {"no_reference_answer"} and bool(self.metrics)

    @property
    def content_hash(self) -> str:
        """A hash of the score and its samples: equal for equal runs, wherever the checkpoint lies."""
        facts = {name: value for name, value in asdict(self).items() if name != "model"}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """A score's fields of the model and of the protocol by which it was asked."""

    model: str
    model_hash: str
    settings: dict[str, Any]
    protocol_name: str
    protocol: str
    prompt_end: str = AS_WRITTEN


def make_score(benchmark: Benchmark, samples: Sequence[Sample], lines: bytes, **identity: Any) -> Score:
    """Return the score of one model's samples, of which ``lines`` is the file.

    ``identity`` holds the fields that only the caller knows.
    """
    verdicts = Counter(sample.verdict for sample in samples)
    num_items = len({sample.item.task_id for sample in samples})
    name = score_name(benchmark.name, identity["protocol_name"])
    return Score(
        benchmark=benchmark.name,
        title=benchmark.title if name == benchmark.name else f"{benchmark.title} ({identity['protocol_name']})",
        kind=benchmark.kind,
        version=benchmark.version,
        data_sha256=data_sha256(benchmark),
        num_items=num_items,
        num_samples=len(samples) // num_items,
        num_passed=verdicts["passed"],
        num_scored=verdicts["passed"] + verdicts["failed"],
        num_unscored=verdicts["unscored"],
        unscored_reasons=_reasons(samples, "unscored"),
        failed_reasons=_reasons(samples, "failed"),
        metrics=_metrics(samples),
        samples_sha256=hashlib.sha256(lines).hexdigest(),
        **identity,
    )


def write_score(folder: Path, score: Score, lines: bytes, run: dict[str, Any]) -> None:
    """Write samples.jsonl, run.json and, last, scores.json: its presence means that the run is complete."""
    document = {"format": FORMAT, **asdict(score), "content_hash": score.content_hash}
    write_atomically(folder / SAMPLES_FILE, lines)
    write_atomically(folder / RUN_FILE, json.dumps(run, indent=2))
    write_atomically(folder / SCORES_FILE, json.dumps(document, indent=2) + "\n")


def read_score(path: Path) -> Score:
    """Return the score in a scores.json, or in the folder of one.

    Raises:
        ValueError: it is of another format, or was changed after it was written.
    """
    file = path / SCORES_FILE if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"{str(file)!r} does not exist: the run is not finished; run the evaluation to its end")
    document = json.loads(file.read_text(encoding="utf-8"))
    if document.pop("format", None) != FORMAT:
        raise ValueError(f"{str(file)!r} is not of format {FORMAT}; run the evaluation again")
    content_hash = document.pop("content_hash")
    metrics = {name: Estimate(**estimate) for name, estimate in document.pop("metrics").items()}
    score = Score(**document, metrics=metrics)
    if score.content_hash != content_hash:
        raise ValueError(f"{str(file)!r} does not match its own content hash; run the evaluation again")
    return score


@dataclass(frozen=True, slots=True)
class Measurement:
    """A score with its verdicts and likelihoods, item by item."""

    score: Score
    pass_rates: Mapping[str, float]
    """Item -> share of its samples that passed; items without a verdict are missing."""
    bits: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """Item -> (log-likelihood of the canonical solution, its bytes); items without one are missing."""


def read_measurement(folder: Path) -> Measurement:
    """Return the score in a folder, with the verdicts beside it.

    Raises:
        ValueError: the folder holds no finished score, or one of another format.
    """
    score, samples = read_score(folder), list(read_samples(folder))
    return Measurement(score, pass_rates(samples), solution_bits(samples))


def score_metadata(score: Score, folder: Path) -> dict[str, Any]:
    """Return a score as asset metadata: numbers as numbers, a table of samples as Markdown, and where the files are."""
    metadata: dict[str, Any] = {}
    for name, estimate in score.metrics.items():
        prefix = name.replace("@", "_at_")
        metadata |= {prefix: estimate.value, f"{prefix}_low": estimate.low, f"{prefix}_high": estimate.high}
        metadata[f"{prefix}_stderr"] = estimate.stderr
    counts = ("num_items", "num_items_total", "num_samples", "num_passed", "num_scored", "num_unscored")
    metadata |= {name: getattr(score, name) for name in counts}
    metadata |= {name: getattr(score, name) for name in ("protocol_name", "protocol", "prompt_end", "data_sha256")}
    metadata |= {"benchmark_version": score.version, "model_hash": score.model_hash}
    metadata |= {"sandbox_tier": score.tier, "tainted": score.tainted}
    metadata["tool_versions"] = "; ".join(f"{name}: {text}" for name, text in score.tool_versions.items())
    metadata["samples"] = report.markdown(samples_table(list(read_samples(folder))))
    metadata["path"] = report.path(folder.resolve())
    return metadata


def _metrics(samples: Sequence[Sample]) -> dict[str, Estimate]:
    counts: dict[str, list[int]] = {}
    for sample in samples:
        if sample.verdict != "unscored":
            counted = counts.setdefault(sample.item.task_id, [0, 0])
            counted[0] += 1
            counted[1] += sample.verdict == "passed"
    metrics = pass_metrics(list(counts.values()))
    known = [
        (sample.completion.log_likelihood, len(sample.item.loglikelihood_text.encode()))
        for sample in samples
        if sample.completion.number == 0 and sample.completion.log_likelihood is not None
    ]
    if known:
        metrics[BITS_PER_BYTE] = bits_per_byte([value for value, _ in known], [size for _, size in known])
    return metrics


def pass_metrics(counts: Sequence[Sequence[int]]) -> dict[str, Estimate]:
    """Return metrics of items given as (samples, passed); empty without items, for a missing score is missing."""
    if not counts:
        return {}
    most = max(drawn for drawn, _ in counts)
    if most == 1:
        return {PASS_AT_1: proportion(sum(passed for _, passed in counts), len(counts))}
    metrics = {}
    for k in (1, *(k for k in _PASS_AT if k <= most)):
        enough = [pair for pair in counts if pair[0] >= k]
        metrics[f"pass@{k}"] = mean_of_items(
            pass_at_k([drawn for drawn, _ in enough], [passed for _, passed in enough], k)
        )
    return metrics


def score_name(benchmark: str, protocol_name: str) -> str:
    """Return a benchmark's name with the protocol, where it is not that of base models."""
    return benchmark if protocol_name in (RAW, FEW_SHOT) else f"{benchmark}-{protocol_name}"


def _reasons(samples: Sequence[Sample], verdict: str) -> dict[str, int]:
    counts = Counter(sample.grade.reason for sample in samples if sample.verdict == verdict)
    return dict(sorted(counts.items()))
