"""Folders of scores as a run writes them, with completions and verdicts that a test chooses."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.sandbox.programs import Grade
from codeft_eval.scoring.samples import Completion, Sample, sample_lines
from codeft_eval.scoring.scores import make_score, write_score


def write_scores(
    folder: Path,
    passed: Sequence[int],
    *,
    model_hash: str = "a" * 64,
    completions: Mapping[int, str] | None = None,
    num_items: int = 44,
    bits: float = 2.0,
    protocol_name: str = "raw",
    tool_versions: Mapping[str, str] | None = None,
) -> Path:
    """The embedded benchmark's first items; those numbered in `passed` passed."""
    benchmark = BENCHMARKS["embedded"]
    items = load_items(benchmark)[:num_items]
    texts = [(completions or {}).get(i, f"    return {i}\n") for i in range(len(items))]
    outcomes = [
        Grade(
            key=item.task_id,
            verdict="passed" if i in passed else "failed",
            reason="passed" if i in passed else "wrong_answer",
            detail="" if i in passed else texts[i],
            stderr="" if i in passed else f"AssertionError: {texts[i]}",
            isolation="namespaces",
        )
        for i, item in enumerate(items)
    ]
    likelihoods = [-bits * 0.693 * len(item.loglikelihood_text.encode()) for item in items]
    samples = [
        Sample(Completion(item, 0, text, likelihood), outcome)
        for item, text, likelihood, outcome in zip(items, texts, likelihoods, outcomes, strict=True)
    ]
    lines = sample_lines(samples)
    identity = {"model": "ours", "model_hash": model_hash, "settings": {}, "tier": "namespaces", "tainted": False}
    identity |= {"protocol_name": protocol_name, "protocol": benchmark.protocol, "prompt_end": "as written"}
    identity |= {"tool_versions": dict(tool_versions or {})}
    score = make_score(benchmark, samples, lines, **identity, num_items_total=len(load_items(benchmark)))
    write_score(folder, score, lines, {})
    return folder
