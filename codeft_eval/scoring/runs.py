"""The runs of a user: a checkpoint, and a replay of stored completions. Importing this loads lm-eval."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from codeft_assets.base.answers import AnswerStore
from codeft_assets.base.files import file_hash
from codeft_eval.benchmarks.benchmark import Benchmark, Item
from codeft_eval.benchmarks.catalogue import data_sha256
from codeft_eval.generation.checkpoints import GenerationSettings, checkpoint_hash, load_language_model
from codeft_eval.generation.language_models import ANSWERS_VERSION, PROMPT_TOO_LONG, CachingLM, EvalHooks, ReplayLM
from codeft_eval.scoring.evaluate import EvalContext, evaluate
from codeft_eval.scoring.graders import open_grader
from codeft_eval.scoring.infilling import with_infilling_tokens
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.phases import PhaseTimer
from codeft_eval.scoring.scores import ModelIdentity, Score


def run_checkpoint(checkpoint: Path, benchmark: Benchmark, output: Path, options: Options) -> Score:
    """Evaluate a checkpoint folder; answers that the model has given before are not computed again.

    Raises:
        ValueError: the checkpoint or the benchmark's data is unusable.
        SandboxError: no isolation works here.
    """
    items = with_infilling_tokens(options.items(benchmark), checkpoint)
    model_hash = checkpoint_hash(checkpoint)
    settings = _choose_settings(checkpoint, benchmark, options)
    identity = ModelIdentity(model=str(checkpoint), model_hash=model_hash, settings=settings.plain())
    with _open_context(benchmark, items, identity, output, options) as context, _open_answers(context) as answers:
        model = CachingLM(load_language_model(checkpoint, settings), answers, settings, _hooks(context))
        return evaluate(model, context)


def replay(generations: Path, benchmark: Benchmark, output: Path, options: Options) -> Score:
    """Score stored completions (JSON lines with task_id and completion) by the same road."""
    items = options.items(benchmark)
    completions = _read_completions(generations)
    num_samples = min((len(completions.get(item.task_id, ())) for item in items), default=1) or 1
    name, model_hash = f"replay of {generations.name}", f"replay:{file_hash(generations)}"
    identity = ModelIdentity(model=name, model_hash=model_hash, settings={})
    options = replace(options, num_samples=num_samples)
    with _open_context(benchmark, items, identity, output, options) as context:
        return evaluate(ReplayLM(completions, benchmark.stops), context)


@contextmanager
def _open_context(
    benchmark: Benchmark, items: Sequence[Item], model: ModelIdentity, output: Path, options: Options
) -> Iterator[EvalContext]:
    with open_grader(benchmark, level=options.tier, allow_unsafe=options.allow_unsafe) as grader:
        refused = {level: reason for level, reason in grader.reasons.items() if level != grader.isolation}
        isolation = f"{grader.isolation} (not {refused})" if refused else grader.isolation
        options.log(f"{benchmark.title}: {len(items)} items, isolation: {isolation}")
        yield EvalContext(
            benchmark=benchmark,
            items=items,
            model=model,
            grader=grader,
            timer=PhaseTimer(),
            output=output,
            log=options.log,
            num_samples=options.num_samples,
        )


@contextmanager
def _open_answers(context: EvalContext) -> Iterator[AnswerStore]:
    """Yield the store of one model under one protocol.

    Its name holds a hash of both, so answers of another checkpoint, prompt, batch size or code are never found.
    """
    facts = {
        "answers_version": ANSWERS_VERSION,
        "benchmark": context.benchmark.name,
        "version": context.benchmark.version,
        "data_sha256": data_sha256(context.benchmark),
        "model_hash": context.model.model_hash,
        "settings": context.model.settings,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    with AnswerStore(context.output / f"generations-{digest}.sqlite") as answers:
        yield answers


def _hooks(context: EvalContext) -> EvalHooks:
    """Return hooks that grade a completion while the model writes the next ones."""
    items = {item.task_id: item for item in context.items}

    def begin_grading(task_id: str, completion: str) -> None:
        if completion != PROMPT_TOO_LONG:
            context.grader.begin(items[task_id], completion)

    def log_progress(kind: str, num_done: int, num_total: int) -> None:
        context.log(f"{kind}: {num_done} of {num_total}")

    return EvalHooks(on_progress=log_progress, on_completion=begin_grading, phase=context.timer.phase)


def _choose_settings(checkpoint: Path, benchmark: Benchmark, options: Options) -> GenerationSettings:
    import torch
    from transformers import AutoConfig

    from codeft_eval.generation.decoder import why_unsupported

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.startswith("cuda")
    is_fast = on_gpu and not why_unsupported(AutoConfig.from_pretrained(checkpoint, local_files_only=True))
    engine = options.engine or ("graphs" if is_fast else "batches")
    return GenerationSettings(
        batch_size=_batch_size(engine, on_gpu) if options.batch_size is None else options.batch_size,
        dtype=options.dtype or ("bfloat16" if on_gpu else "float32"),
        device=device,
        max_new_tokens=benchmark.max_new_tokens,
        stops=benchmark.stops,
        engine=engine,
        num_samples=options.num_samples,
        temperature=options.temperature,
        top_p=options.top_p,
        seed=options.seed,
    )


def _batch_size(engine: str, on_gpu: bool) -> int:
    """Return how many rows keep a device busy; ``graphs`` takes fewer where they do not fit into memory."""
    if not on_gpu:
        return 16
    return 2048 if engine == "graphs" else 64


def _read_completions(path: Path) -> dict[str, list[str]]:
    """Return the completions of each item, in the order of the file."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    bad = next((row for row in rows if not {"task_id", "completion"} <= row.keys()), None)
    if bad is not None:
        raise ValueError(f"{str(path)!r}: a row has {sorted(bad)}; each needs task_id and completion")
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["task_id"], []).append(row["completion"])
    return found
