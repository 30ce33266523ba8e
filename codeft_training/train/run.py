"""Trains a model on packed rows; leaves a checkpoint folder that ``from_pretrained`` loads.

A ``PretrainRecipe`` trains from scratch by our own step loop, a ``FinetuneRecipe`` trains a base model by TRL.

Invariant: on one CPU the final weights depend on recipe, tokenizer and packed rows only; killing the process at any
moment and running it again changes nothing. They are those of the step with the least held-out loss, however far the
run went on. A run that is finished is not run again.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from codeft_assets.base.files import file_hash
from codeft_assets.base.report import Reporter
from codeft_training.measure.metrics import Metrics
from codeft_training.model.architecture import qwen3_config
from codeft_training.model.base_model import base_folder
from codeft_training.recipe import FinetuneRecipe, PretrainRecipe, Recipe
from codeft_training.run_spec import TrainingRun
from codeft_training.train.inputs import check_inputs
from codeft_training.train.result import save_result
from codeft_training.train.signals import StopRequest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from codeft_training.model.distributed import DistributedContext
    from codeft_training.train.callbacks.callback import CallbackList
    from codeft_training.train.pretrain import Pretrainer


def train(run: TrainingRun, reporter: Reporter, stop: StopRequest | None = None) -> dict[str, Any] | None:
    """Train, or resume, or return the finished result; None in a process that is not the main one.

    Raises:
        Stopped: SIGTERM came; the state is saved and the next call goes on from there.
        ValueError: the inputs do not fit together, or are damaged.
        FloatingPointError: loss, gradient or weights are not finite.
        OSError: the disk is full; the last valid checkpoint is kept.
    """
    stop = stop or StopRequest().install()
    finished = _finished_result(run)
    if finished is not None:
        reporter.log(f"run {run.identity} is finished: nothing to do")
        return finished
    check_inputs(run)
    run.work.mkdir(parents=True, exist_ok=True)
    _log_other_states(run, reporter)
    start = time.monotonic()
    from codeft_training.model import distributed

    try:
        context = distributed.init()
        with closing(Metrics(run.work, reporter, is_main=context.is_main)) as metrics:
            model = _train(run, build_callbacks(run, metrics, stop, context), context)
    finally:
        distributed.destroy()
    return save_result(run, model, metrics.entries(), time.monotonic() - start) if context.is_main else None


def _finished_result(run: TrainingRun) -> dict[str, Any] | None:
    path = run.output / "result.json"
    if not path.is_file():
        return None
    result = json.loads(path.read_text())
    weights = run.output / "checkpoint" / "model.safetensors"
    is_valid = weights.is_file() and file_hash(weights) == result["weights_hash"]
    return result if is_valid and result["identity"] == run.identity else None


def _log_other_states(run: TrainingRun, reporter: Reporter) -> None:
    others = [path for path in run.work.parent.iterdir() if path.is_dir() and path != run.work]
    num_bytes = sum(file.stat().st_size for path in others for file in path.rglob("*") if file.is_file())
    if others:
        reporter.log(
            f"{len(others)} other runs have states in {run.work.parent} ({num_bytes / 1e6:,.0f} MB): they go on with "
            f"their own recipe, rows and base; delete those that shall not"
        )


def build_callbacks(run: TrainingRun, metrics: Metrics, stop: StopRequest, context: DistributedContext) -> CallbackList:
    """Return the callbacks of a run in the order of their calls."""
    from codeft_training.measure.evaluation import build_evaluator
    from codeft_training.train.callbacks.callback import CallbackList
    from codeft_training.train.callbacks.checkpoint import CheckpointCallback
    from codeft_training.train.callbacks.evaluation import EvaluationCallback
    from codeft_training.train.callbacks.finite import FiniteCheck
    from codeft_training.train.callbacks.metrics import MetricsCallback
    from codeft_training.train.callbacks.stages import StageCallback
    from codeft_training.train.callbacks.stop import StopCallback
    from codeft_training.train.callbacks.time_budget import TimeBudget

    recipe, monitor = run.recipe, run.recipe.monitor
    evaluator = build_evaluator(run.packed, run.tokenizer, run.eval_texts, recipe)
    stages = recipe.schedule.stages
    callbacks = [
        FiniteCheck(recipe.optimization.learning_rate),
        MetricsCallback(metrics, recipe.data, num_devices=context.size),
        *([StageCallback(metrics, stages)] if stages else []),
        EvaluationCallback(evaluator, metrics, every_steps=monitor.validate_every_steps, has_stages=bool(stages)),
        CheckpointCallback(every_steps=monitor.save_every_steps),
        StopCallback(stop, context),
    ]
    return CallbackList([*callbacks, TimeBudget(context)] if isinstance(recipe, PretrainRecipe) else callbacks)


def _train(run: TrainingRun, callbacks: CallbackList, context: DistributedContext) -> PreTrainedModel:
    """Run the engine of the recipe and return the trained model."""
    recipe = run.recipe
    if not isinstance(recipe, FinetuneRecipe):
        return build_pretrainer(run, callbacks, context).train()
    from codeft_training.train.finetune import Finetuner

    finetuner = Finetuner(recipe, run.packed, tokenizer=run.tokenizer, folder=run.work, callbacks=callbacks)
    return finetuner.train(lambda: initial_model(recipe))


def build_pretrainer(run: TrainingRun, callbacks: CallbackList, context: DistributedContext) -> Pretrainer:
    """Return the engine of a run from scratch, at its first step."""
    from transformers import Qwen3ForCausalLM

    from codeft_training.data.batches import Batches
    from codeft_training.data.variation import build_variation
    from codeft_training.train.pretrain import Pretrainer

    recipe = run.recipe
    assert isinstance(recipe, PretrainRecipe), "a recipe is one of two kinds"
    model = initial_model(recipe)
    assert isinstance(model, Qwen3ForCausalLM), "made in this shape"
    by_document = recipe.pretraining.attention == "documents"
    variation = build_variation(run.packed, run.tokenizer, recipe)
    stages = recipe.schedule.stages
    batches = Batches(run.packed, recipe.data, stages, with_documents=by_document, variation=variation)
    return Pretrainer(recipe, model, batches=batches, context=context, folder=run.work, callbacks=callbacks)


def initial_model(recipe: Recipe) -> PreTrainedModel:
    """Return the model a run begins with: the base, or weights drawn from the seed in the recipe's shape."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3ForCausalLM, set_seed
    from transformers.utils import logging

    logging.disable_progress_bar()  # bars fill a log that nobody watches as it moves
    set_seed(recipe.data.seed)
    if isinstance(recipe, FinetuneRecipe):
        return AutoModelForCausalLM.from_pretrained(base_folder(recipe.finetuning.base_model), dtype=torch.float32)
    assert isinstance(recipe, PretrainRecipe), "a recipe is one of two kinds"
    return Qwen3ForCausalLM(qwen3_config(recipe))
