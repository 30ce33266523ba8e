"""The runs of a user: a checkpoint, and a replay of stored completions. Importing this loads lm-eval."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from codeft_assets.base.answers import AnswerStore
from codeft_eval.benchmarks.benchmark import ALL_PROTOCOLS, CHAT, Benchmark, Item, Protocol
from codeft_eval.benchmarks.catalogue import data_sha256, load_items
from codeft_eval.generation.checkpoints import GenerationSettings, checkpoint_hash, load_language_model
from codeft_eval.generation.language_models import ANSWERS_VERSION, PROMPT_TOO_LONG, CachingLM, EvalHooks, ReplayLM
from codeft_eval.generation.prompts import load_tokenizer, stop_token_ids
from codeft_eval.scoring.evaluate import EvalContext, evaluate
from codeft_eval.scoring.graders import open_grader
from codeft_eval.scoring.infilling import with_infilling_tokens
from codeft_eval.scoring.lm_eval_runs import score_task, with_task_limits
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.parts import KnownGrades, items_of_part
from codeft_eval.scoring.phases import PhaseTimer
from codeft_eval.scoring.prompting import prompt_items, protocol_outputs
from codeft_eval.scoring.replays import prepare_replay
from codeft_eval.scoring.scores import REPLAY_PREFIX, RunIdentity, Score
from codeft_eval.scoring.stored_completions import read_completions

_ASKED = ("model_hash", "settings", "protocol_name", "protocol", "prompt_end")
"""The fields of an identity that a model's answers depend on."""


def run_protocols(
    checkpoint: Path, benchmark: Benchmark, output: Path, options: Options, name: str
) -> dict[Path, Score]:
    """Evaluate a checkpoint by the protocol called ``name``, or by all, and return folder -> score.

    A chat's score of an earlier checkpoint does not stay beside that of a checkpoint without a chat template.
    """
    outputs = protocol_outputs(with_task_limits(benchmark), checkpoint, name, output)
    if name == ALL_PROTOCOLS and len(outputs) == 1:
        shutil.rmtree(output / CHAT, ignore_errors=True)
    return {
        folder: run_checkpoint(checkpoint, benchmark, folder, _beside(options, folder.relative_to(output)), protocol)
        for protocol, folder in outputs
    }


def _beside(options: Options, folder: Path) -> Options:
    """Return the options of a protocol's folder: the parts of its run stand in folders of the same name."""
    return replace(options, parts=[part / folder for part in options.parts])


def run_checkpoint(
    checkpoint: Path, benchmark: Benchmark, output: Path, options: Options, protocol: Protocol | None = None
) -> Score:
    """Evaluate a checkpoint folder by a protocol, None being the benchmark's own; stored answers are used again.

    Raises:
        ValueError: the checkpoint or the benchmark's data is unusable, or the protocol has no use for the checkpoint.
        SandboxError: no isolation works here.
    """
    chosen = protocol or with_task_limits(benchmark).own_protocol
    items = with_infilling_tokens(options.items(benchmark), checkpoint)
    model_hash = checkpoint_hash(checkpoint)
    tokenizer = load_tokenizer(checkpoint)
    asked, prompt_end = prompt_items(items, chosen, tokenizer)
    settings = choose_settings(checkpoint, tokenizer, chosen, options)
    identity = RunIdentity(
        model=str(checkpoint),
        model_hash=model_hash,
        settings=settings.plain(),
        protocol_name=chosen.name,
        protocol=chosen.words,
        prompt_end=prompt_end,
    )
    asked = items_of_part(asked, options.part, benchmark)
    with (
        _open_context(benchmark, asked, identity, output, options) as context,
        _open_answers(context, options.parts) as answers,
    ):
        model = CachingLM(load_language_model(checkpoint, settings), answers, settings, _hooks(context))
        if benchmark.lm_eval_task:
            return score_task(model, benchmark, items, identity, output, context.timer)
        return evaluate(model, context)


def replay(
    generations: Path, benchmark: Benchmark, output: Path, options: Options, *, model: str = "", protocol: str = ""
) -> Score:
    """Score stored completions by the same road.

    Args:
        generations: A file or folder of one of the formats that ``stored_completions`` reads.
        benchmark: The benchmark that they were made for.
        output: The folder of the score.
        options: Limit and sandbox.
        model: The name of the model that wrote them: files of one name are one model's. Empty: this file's own.
        protocol: The protocol by which they were made. Empty: as the file shows it.

    Raises:
        OSError: there is no such file.
        ValueError: it is of no known format, or does not hold the benchmark's items.
    """
    items = options.items(benchmark)
    stored = read_completions(generations, items, [item.task_id for item in load_items(benchmark)])
    prepared = prepare_replay(benchmark, items, stored, protocol)
    identity = RunIdentity(
        model=model or f"replay of {generations.name} ({stored.sha256[:8]})",
        model_hash=REPLAY_PREFIX + (hashlib.sha256(model.encode()).hexdigest() if model else stored.sha256),
        settings={},
        protocol_name=prepared.protocol_name,
        protocol=prepared.protocol,
    )
    options = replace(options, num_samples=len(prepared.texts[items[0].task_id]))
    with _open_context(benchmark, prepared.items, identity, output, options) as context:
        return evaluate(ReplayLM(prepared.texts), context)


@contextmanager
def _open_context(
    benchmark: Benchmark, items: Sequence[Item], identity: RunIdentity, output: Path, options: Options
) -> Iterator[EvalContext]:
    with open_grader(benchmark, level=options.tier, allow_unsafe=options.allow_unsafe) as grader:
        refused = {level: reason for level, reason in grader.reasons.items() if level != grader.isolation}
        isolation = f"{grader.isolation} (not {refused})" if refused else grader.isolation
        options.log(f"{benchmark.title}: {len(items)} items, {identity.protocol_name}, isolation: {isolation}")
        yield EvalContext(
            benchmark=benchmark,
            items=items,
            identity=identity,
            grader=KnownGrades(grader, options.parts, benchmark, identity) if options.parts else grader,
            timer=PhaseTimer(),
            output=output,
            log=options.log,
            num_samples=options.num_samples,
        )


@contextmanager
def _open_answers(context: EvalContext, parts: Sequence[Path] = ()) -> Iterator[AnswerStore]:
    """Yield the store of one model under one protocol, with what the runs of parts have in theirs.

    Its name holds a hash of both, so answers of another checkpoint, prompt, batch size or code are never found.
    """
    facts = {
        "answers_version": ANSWERS_VERSION,
        "benchmark": context.benchmark.name,
        "version": context.benchmark.version,
        "data_sha256": data_sha256(context.benchmark),
        **{name: getattr(context.identity, name) for name in _ASKED},
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    name = f"generations-{digest}.sqlite"
    with AnswerStore(context.output / name) as answers:
        for part in parts:
            answers.absorb(part / name)
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


def choose_settings(checkpoint: Path, tokenizer: Any, protocol: Protocol, options: Options) -> GenerationSettings:
    """Return the settings by which a checkpoint answers: the user's, or those that suit the device and the model."""
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
        max_new_tokens=protocol.max_new_tokens,
        stops=protocol.stops,
        stop_token_ids=stop_token_ids(checkpoint, tokenizer),
        add_special_tokens=False if protocol.chat else None,
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
