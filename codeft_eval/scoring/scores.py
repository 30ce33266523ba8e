"""A score with everything that identifies it, as files: scores.json (deterministic), samples.jsonl, run.json.

An item may have several samples. They come item by item, so that an item's samples stand together; counts are of
samples, and metrics treat the item as the unit.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from codeft_eval.benchmarks.catalogue import Benchmark, data_sha256
from codeft_eval.benchmarks.items import Item
from codeft_eval.scoring.lm_eval_run import Answers
from codeft_eval.statistics.intervals import Estimate, bits_per_byte, mean_of_items, pass_at_k, proportion

FORMAT = 2
PASS_AT_1, BITS_PER_BYTE = "pass@1", "bits_per_byte"
_PASS_AT = (5, 10, 100)
"""The other k that are reported, where as many samples were drawn."""
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One model on one benchmark."""

    benchmark: str
    title: str
    kind: str
    version: int
    protocol: str
    data_sha256: str
    model: str
    model_hash: str
    settings: dict[str, Any]
    "how completions were made; empty for a replay"
    tier: str
    tainted: bool
    "programs ran unconfined, so nothing vouches for the verdicts"
    num_items: int
    num_items_total: int
    "in the benchmark; more than num_items when a limit was set"
    num_samples: int
    "completions an item"
    num_passed: int
    "samples, as the two below"
    num_scored: int
    num_unscored: int
    unscored_reasons: dict[str, int]
    failed_reasons: dict[str, int]
    metrics: dict[str, Estimate]
    "absent when nothing could be scored: a missing score is missing"
    samples_sha256: str

    @property
    def content_hash(self) -> str:
        """A hash of the score and its samples: equal for equal runs, wherever the checkpoint lies."""
        facts = {name: value for name, value in asdict(self).items() if name != "model"}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def make_score(benchmark: Benchmark, items: Sequence[Item], answers: Answers, samples: bytes, **identity: Any) -> Score:
    """The score of one model's answers; `identity` holds the fields that only the caller knows."""
    verdicts = Counter(outcome.verdict for outcome in answers.outcomes)
    num_items = len({item.task_id for item in items})
    return Score(
        benchmark=benchmark.name,
        title=benchmark.title,
        kind=benchmark.kind,
        version=benchmark.version,
        protocol=benchmark.protocol,
        data_sha256=data_sha256(benchmark),
        num_items=num_items,
        num_samples=len(items) // num_items,
        num_passed=verdicts["passed"],
        num_scored=verdicts["passed"] + verdicts["failed"],
        num_unscored=verdicts["unscored"],
        unscored_reasons=_reasons(answers, "unscored"),
        failed_reasons=_reasons(answers, "failed"),
        metrics=_metrics(items, answers),
        samples_sha256=hashlib.sha256(samples).hexdigest(),
        **identity,
    )


def sample_lines(items: Sequence[Item], answers: Answers) -> bytes:
    """One JSON line a sample: prompt, completion, verdict, what the program said, and in which jail it ran."""
    lines, numbers = [], _sample_numbers(items)
    for index, (item, outcome) in enumerate(zip(items, answers.outcomes, strict=True)):
        likelihood = answers.log_likelihoods[index] if answers.log_likelihoods else None
        sample = {
            "task_id": item.task_id,
            "sample": numbers[index],
            "prompt": item.prompt,
            "completion": _encodable(answers.completions[index]),
            "verdict": outcome.verdict,
            "reason": outcome.reason,
            "detail": _encodable(_without_addresses(outcome.detail)),
            "stderr": _encodable(_without_addresses(outcome.stderr)),
            "tier": outcome.isolation,
            "solution_log_likelihood": likelihood,
            "solution_bytes": len(item.weighed_text.encode()),
        }
        lines.append(json.dumps(sample, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def pass_rates(samples: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Item -> the share of its samples that passed; an item without a verdict is missing, never 0."""
    counts: dict[str, list[bool]] = {}
    for sample in samples:
        if sample["verdict"] != "unscored":
            counts.setdefault(sample["task_id"], []).append(sample["verdict"] == "passed")
    return {item: sum(passed) / len(passed) for item, passed in counts.items()}


def solution_bits(samples: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, int]]:
    """Item -> (log-likelihood of the canonical solution, its bytes), where it was weighed."""
    first = (sample for sample in samples if sample["sample"] == 0 and sample["solution_log_likelihood"] is not None)
    return {sample["task_id"]: (sample["solution_log_likelihood"], sample["solution_bytes"]) for sample in first}


def write_score(folder: Path, score: Score, samples: bytes, run: dict[str, Any]) -> None:
    """Writes samples.jsonl, run.json and, last, scores.json: its presence means that the run is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"format": FORMAT, **asdict(score), "content_hash": score.content_hash}
    _write(folder / "samples.jsonl", samples)
    _write(folder / "run.json", json.dumps(run, indent=2).encode())
    _write(folder / "scores.json", (json.dumps(document, indent=2) + "\n").encode())


def read_score(path: Path) -> Score:
    """The score in a scores.json, or in the folder of one.

    Raises:
        ValueError: it is of another format, or was changed after it was written.
    """
    file = path / "scores.json" if path.is_dir() else path
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


def read_samples(folder: Path) -> Iterable[dict[str, Any]]:
    """The samples beside a score."""
    with (folder / "samples.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A score and what it rests on, item by item."""

    score: Score
    pass_rates: Mapping[str, float]
    "item -> share of its samples that passed; items without a verdict are missing"
    bits: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    "item -> (log-likelihood of the canonical solution, its bytes); items that were not weighed are missing"


def read_measurement(folder: Path) -> Measurement:
    """The score in a folder, with the verdicts beside it.

    Raises:
        ValueError: the folder holds no finished score, or one of another format.
    """
    score, samples = read_score(folder), list(read_samples(folder))
    return Measurement(score, pass_rates(samples), solution_bits(samples))


def score_metadata(score: Score, folder: Path) -> dict[str, Any]:
    """A score as asset metadata: numbers as numbers, a table of samples as Markdown, and where the files are."""
    metadata: dict[str, Any] = {}
    for name, estimate in score.metrics.items():
        prefix = name.replace("@", "_at_")
        metadata |= {prefix: estimate.value, f"{prefix}_low": estimate.low, f"{prefix}_high": estimate.high}
        metadata[f"{prefix}_stderr"] = estimate.stderr
    counts = ("num_items", "num_items_total", "num_samples", "num_passed", "num_scored", "num_unscored")
    metadata |= {name: getattr(score, name) for name in counts}
    metadata |= {"protocol": score.protocol, "benchmark_version": score.version, "data_sha256": score.data_sha256}
    metadata |= {"sandbox_tier": score.tier, "tainted": score.tainted, "model_hash": score.model_hash}
    metadata["samples"] = {"type": "md", "raw_value": samples_table(list(read_samples(folder)))}
    metadata["path"] = {"type": "path", "raw_value": str(folder.resolve())}
    return metadata


def samples_table(samples: Sequence[dict[str, Any]], limit: int = 10) -> str:
    """A few samples as Markdown, the passed ones first."""
    shown = sorted(samples, key=lambda sample: sample["verdict"] != "passed")[:limit]
    lines = ["| item | verdict | why | completion |", "|---|---|---|---|"]
    for sample in shown:
        text = sample["completion"][:160].replace("`", "ˋ").replace("|", "\\|").replace("\n", " ⏎ ")
        why = sample["reason"] if sample["reason"] != "passed" else ""
        lines.append(f"| {sample['task_id']} | {sample['verdict']} | {why} | `{text or ' '}` |")
    return "\n".join(lines)


def _metrics(items: Sequence[Item], answers: Answers) -> dict[str, Estimate]:
    counts: dict[str, list[int]] = {}
    for item, outcome in zip(items, answers.outcomes, strict=True):
        if outcome.verdict != "unscored":
            counted = counts.setdefault(item.task_id, [0, 0])
            counted[0] += 1
            counted[1] += outcome.verdict == "passed"
    metrics = pass_metrics(list(counts.values()))
    firsts = [index for index, number in enumerate(_sample_numbers(items)) if number == 0 and answers.log_likelihoods]
    weighed = [(answers.log_likelihoods[index], len(items[index].weighed_text.encode())) for index in firsts]
    known = [(value, size) for value, size in weighed if value is not None]
    if known:
        metrics[BITS_PER_BYTE] = bits_per_byte([value for value, _ in known], [size for _, size in known])
    return metrics


def pass_metrics(counts: Sequence[Sequence[int]]) -> dict[str, Estimate]:
    """Metrics of items given as (samples, passed); empty without items, for a missing score is missing."""
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


def _sample_numbers(items: Sequence[Item]) -> list[int]:
    seen: Counter[str] = Counter()
    numbers = []
    for item in items:
        numbers.append(seen[item.task_id])
        seen[item.task_id] += 1
    return numbers


def _reasons(answers: Answers, verdict: str) -> dict[str, int]:
    counts = Counter(outcome.reason for outcome in answers.outcomes if outcome.verdict == verdict)
    return dict(sorted(counts.items()))


def _without_addresses(text: str) -> str:
    return _ADDRESS.sub("0x…", text)


def _encodable(text: str) -> str:
    """`text` without lone surrogates: half a character in a stored completion must not end a run."""
    return text.encode("utf-8", "backslashreplace").decode()


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
