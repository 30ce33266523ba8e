"""The three runs: a checkpoint, a replay of stored completions, and the check of the harness itself."""

import json
import logging
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from codeft_eval.benchmarks.catalogue import data_sha256, load_items
from codeft_eval.benchmarks.entries import Benchmark
from codeft_eval.benchmarks.items import Item
from codeft_eval.benchmarks.multipl_e_solutions import table_solution
from codeft_eval.generation.cuda_graph import is_recordable
from codeft_eval.generation.models import (
    PROMPT_TOO_LONG,
    GenerationSettings,
    Hear,
    Listener,
    checkpoint_hash,
    load_checkpoint,
    remembering,
    replaying,
)
from codeft_eval.generation.store import GenerationStore
from codeft_eval.sandbox.isolation.levels import UNSAFE
from codeft_eval.sandbox.programs import Grade
from codeft_eval.scoring.graders import Oracle, open_oracle
from codeft_eval.scoring.lm_eval_run import BITS_PER_BYTE, COMPLETION, Answers, ask
from codeft_eval.scoring.lm_eval_tasks import Scoring
from codeft_eval.scoring.scores import Score, make_score, sample_lines, write_score

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user may choose about a run."""

    limit: int | None = None
    "the first items only; the score says how many"
    batch_size: int | None = None
    "None: 64 on a GPU, 16 elsewhere"
    device: str = ""
    "empty: a GPU when there is one"
    dtype: str = ""
    "empty: bfloat16 on a GPU, float32 elsewhere"
    engine: str = ""
    "batches, graphs or continuous; empty: graphs on a GPU where all layers have full attention, batches elsewhere"
    num_samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    tier: str | None = None
    allow_unsafe: bool = False
    log: Callable[[str], None] = logger.info

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit {self.limit}: at least one item; leave it out for all")


def run_checkpoint(checkpoint: Path, benchmark: Benchmark, output: Path, options: Options) -> Score:
    """Evaluates a checkpoint folder; a second call asks the model for nothing it has already answered.

    Raises:
        ValueError: the checkpoint or the benchmark's data is unusable.
        SandboxError: no jail works here.
    """
    items = _items(benchmark, options)
    model_hash = checkpoint_hash(checkpoint)
    settings = _settings(checkpoint, benchmark, options)
    with open_oracle(benchmark, tier=options.tier, allow_unsafe=options.allow_unsafe) as oracle:
        options.log(f"{benchmark.title}: {len(items)} items, jail: {oracle.tier} {_other_tiers(oracle)}")
        identity = _identity(benchmark, model_hash, settings)
        store = GenerationStore(output, identity)
        hear = _begin_judging(oracle, items)
        clock = _Clock(oracle)
        loaded = load_checkpoint(checkpoint, settings)
        model = remembering(loaded, store, settings, Listener(_progress(options), hear, clock.timing))
        answers = ask(model, Scoring(items, clock.judge, settings.num_samples), (COMPLETION, BITS_PER_BYTE))
    return _finish(
        benchmark, answers, output, options, clock,
        model=str(checkpoint), model_hash=model_hash, settings=settings.plain(),
    )  # fmt: skip


def _begin_judging(oracle: Oracle, items: Sequence[Item]) -> Hear:
    """Programs run while the model writes the next ones."""
    by_name = {item.task_id: item for item in items}

    def hear(task_id: str, completion: str) -> None:
        if completion != PROMPT_TOO_LONG:
            oracle.begin(by_name[task_id], completion)

    return hear


def replay(generations: Path, benchmark: Benchmark, output: Path, options: Options) -> Score:
    """Scores stored completions (JSON lines with task_id and completion) through the same path."""
    items = _items(benchmark, options)
    completions = _read_completions(generations)
    with open_oracle(benchmark, tier=options.tier, allow_unsafe=options.allow_unsafe) as oracle:
        options.log(f"{benchmark.title}: {len(items)} stored completions, jail: {oracle.tier} {_other_tiers(oracle)}")
        clock = _Clock(oracle)
        model = replaying(completions, benchmark.stops)
        num_samples = min((len(completions.get(item.task_id, ())) for item in items), default=1) or 1
        answers = ask(model, Scoring(items, clock.judge, num_samples), (COMPLETION,))
    return _finish(
        benchmark, answers, output, options, clock,
        model=f"replay of {generations.name}", model_hash=f"replay:{_file_hash(generations)}", settings={},
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessCheck:
    """Whether the oracle can tell right from wrong on every item."""

    benchmark: str
    tier: str
    num_items: int
    unexpected: dict[str, str]
    "task id -> a canonical solution that fails, or an empty one that passes"
    declared: dict[str, str]
    "canonical solutions that fail for the reason the entry states"

    @property
    def passed(self) -> bool:
        """Whether nothing is unexpected."""
        return not self.unexpected


def check_harness(benchmark: Benchmark, options: Options) -> HarnessCheck:
    """Canonical solutions must pass and empty completions must fail, item by item.

    Where the upstream file has no solutions, a table of the tests' own answers stands in (MultiPL-E). Items that are
    weighed only have nothing to check.
    """
    items = [item for item in _items(benchmark, options) if item.is_judged]
    with open_oracle(benchmark, tier=options.tier, allow_unsafe=options.allow_unsafe) as oracle:
        solved = oracle.judge(items, [item.solution or table_solution(item) for item in items])
        empty = oracle.judge(items, ["" for _ in items])
        tier = oracle.tier
    declared = {o.key: benchmark.failing_solutions[o.key] for o in solved if o.key in benchmark.failing_solutions}
    unexpected = {
        outcome.key: f"canonical solution: {outcome.reason}: {outcome.detail}"
        for outcome in solved
        if (outcome.verdict == "passed") == (outcome.key in declared)
    }
    unexpected |= {o.key: f"empty completion: {o.verdict} {o.reason}" for o in empty if o.verdict != "failed"}
    return HarnessCheck(
        benchmark=benchmark.name, tier=tier, num_items=len(items), unexpected=unexpected, declared=declared
    )


class _Clock:
    """Times the parts of a run: what the model takes, and what the run then waits for verdicts that are not ready."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self._started = time.monotonic()
        self._parts: dict[str, float] = {}

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self._parts[part] = self._parts.get(part, 0.0) + time.monotonic() - begin

    def judge(self, *arguments: Any) -> Any:
        with self.timing("awaiting_verdicts"):
            return self.oracle.judge(*arguments)

    def seconds(self, outcomes: Sequence[Grade]) -> dict[str, float]:
        """The run's wall seconds by part, and of the programs, which run beside the model, the sums of all."""
        total = time.monotonic() - self._started
        rest = total - sum(self._parts.values())
        programs = {
            "programs_wall": sum(outcome.wall_seconds for outcome in outcomes),
            "programs_cpu": sum(outcome.cpu_seconds for outcome in outcomes),
        }
        return {
            name: round(value, 3)
            for name, value in ({"total": total} | self._parts | {"rest": rest} | programs).items()
        }


def _finish(
    benchmark: Benchmark,
    answers: Answers,
    output: Path,
    options: Options,
    clock: _Clock,
    **model: Any,
) -> Score:
    samples = sample_lines(answers.items, answers)
    tier = clock.oracle.tier
    identity = {"tier": tier, "tainted": tier == UNSAFE, "num_items_total": len(load_items(benchmark)), **model}
    score = make_score(benchmark, answers.items, answers, samples, **identity)
    limits = clock.oracle.limits
    run = {
        "seconds": clock.seconds(answers.outcomes),
        "limits": asdict(limits) if limits else None,
        "tiers": clock.oracle.reasons,
        "versions": {name: version(name) for name in ("lm-eval", "torch", "transformers", "datasets")},
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
    write_score(output, score, samples, run)
    options.log(f"{benchmark.title}: {score.num_passed} of {score.num_scored} passed, {score.num_unscored} unscored")
    return score


def _items(benchmark: Benchmark, options: Options) -> list[Item]:
    items = load_items(benchmark)[: options.limit]
    if not items:
        raise ValueError(f"benchmark {benchmark.name!r} has no items; its data is {benchmark.data.origin}")
    return items


def _settings(checkpoint: Path, benchmark: Benchmark, options: Options) -> GenerationSettings:
    import torch
    from transformers import AutoConfig

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.startswith("cuda")
    is_fast = on_gpu and is_recordable(AutoConfig.from_pretrained(checkpoint, local_files_only=True))
    return GenerationSettings(
        batch_size=(64 if on_gpu else 16) if options.batch_size is None else options.batch_size,
        dtype=options.dtype or ("bfloat16" if on_gpu else "float32"),
        device=device,
        max_new_tokens=benchmark.max_new_tokens,
        stops=benchmark.stops,
        engine=options.engine or ("graphs" if is_fast else "batches"),
        num_samples=options.num_samples,
        temperature=options.temperature,
        top_p=options.top_p,
        seed=options.seed,
    )


def _identity(benchmark: Benchmark, model_hash: str, settings: GenerationSettings) -> dict[str, Any]:
    return {
        "benchmark": benchmark.name,
        "version": benchmark.version,
        "data_sha256": data_sha256(benchmark),
        "model_hash": model_hash,
        "settings": settings.plain(),
    }


def _progress(options: Options) -> Callable[[str, int, int], None]:
    def progress(kind: str, done: int, total: int) -> None:
        options.log(f"{kind}: {done} of {total}")

    return progress


def _other_tiers(oracle: Oracle) -> str:
    refused = {tier: reason for tier, reason in oracle.reasons.items() if tier != oracle.tier}
    return f"(not {refused})" if refused else ""


def _read_completions(path: Path) -> dict[str, list[str]]:
    """The completions of each item, in the order of the file."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    bad = next((row for row in rows if not {"task_id", "completion"} <= row.keys()), None)
    if bad is not None:
        raise ValueError(f"{str(path)!r}: a row has {sorted(bad)}; each needs task_id and completion")
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["task_id"], []).append(row["completion"])
    return found


def _file_hash(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()
