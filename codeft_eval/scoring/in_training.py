"""How many completions that a model wrote while it trained pass: a small score that costs the training nothing."""

from collections.abc import Mapping

from codeft_eval.benchmarks.catalogue import load_items
from codeft_eval.benchmarks.entries import Benchmark
from codeft_eval.generation.generate import cut
from codeft_eval.scoring.graders import open_oracle

PASS_AT_1, NUM_SCORED = "probe_pass_at_1", "probe_num_scored"


def judge_completions(benchmark: Benchmark, completions: Mapping[str, str]) -> dict[str, float]:
    """The share of `completions`, item -> text, that pass, and of how many; {} where none could be judged.

    Raises:
        ValueError: an item is not the benchmark's.
        SandboxError: no jail works here.
    """
    items = {item.task_id: item for item in load_items(benchmark)}
    unknown = sorted(completions.keys() - items.keys())
    if unknown:
        raise ValueError(f"items {unknown[:3]} are not of benchmark {benchmark.name!r}; write the probe anew")
    texts = [cut(text, benchmark.stops) for text in completions.values()]
    with open_oracle(benchmark) as oracle:
        outcomes = oracle.judge([items[name] for name in completions], texts)
    scored = [outcome.verdict == "passed" for outcome in outcomes if outcome.verdict != "unscored"]
    return {PASS_AT_1: sum(scored) / len(scored), NUM_SCORED: len(scored)} if scored else {}
