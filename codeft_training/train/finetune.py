"""Fine-tunes a Hub model on packed rows with TRL's ``SFTTrainer``; its checkpoints count only when marked complete.

Each document of a row is trained as if it were alone. With ``lora_rank`` only low-rank additions to the linear layers
and the rows of added tokens are trained, and merged into the weights at the end: the result is a checkpoint like any
other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft_training.data.packed_rows import PackedRows
from codeft_training.model.schedule import build_schedule
from codeft_training.recipe import FinetuneRecipe
from codeft_training.run_spec import Stopped
from codeft_training.train.callbacks.callback import Callback
from codeft_training.train.checkpoints import ADAPTER, TRAINER, latest_valid
from codeft_training.train.lora import added_tokens_in, lora_config, require_peft
from codeft_training.train.trainer_settings import trainer_settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Finetuner:
    """TRL's trainer, guarded: resumed from valid checkpoints only, and retried with smaller micro-batches."""

    def __init__(
        self, recipe: FinetuneRecipe, packed: PackedRows, *, tokenizer: Path, folder: Path, callbacks: Callback
    ) -> None:
        self._recipe, self._packed, self._tokenizer = recipe, packed, tokenizer
        self._folder, self._callbacks = folder, callbacks
        self._token_ids: list[int] = []

    def train(self, make_model: Callable[[], PreTrainedModel]) -> PreTrainedModel:
        """Train the model that ``make_model`` returns, and return it.

        When memory runs out, it goes on from the latest valid checkpoint with half the rows a micro-batch and the same
        global batch.

        Raises:
            Stopped: SIGTERM came; the state is saved and the next call goes on from there.
            FloatingPointError: loss, gradient or weights are not finite.
            OSError: the disk is full, or a single row does not fit; the last valid checkpoint is kept.
            ValueError: the recipe wants LoRA and ``peft`` is not installed.
        """
        from codeft_training.train.oom import retry_line, retry_with_smaller_batch

        require_peft(self._recipe)
        if self._recipe.finetuning.lora_rank:
            self._token_ids = added_tokens_in(self._packed, self._tokenizer)
        model, _ = retry_with_smaller_batch(
            lambda rows: self._attempt(make_model(), rows),
            self._recipe.data.batch_rows,
            lambda rows: self._callbacks.on_message(retry_line(rows)),
        )
        return model

    def _attempt(self, model: PreTrainedModel, rows: int) -> PreTrainedModel:
        from transformers import AutoTokenizer

        from codeft_training.train.row_dataset import RowCollator, row_dataset
        from codeft_training.train.trl_adapter import GuardedTrainer, TrlAdapter

        recipe, lora_rank = self._recipe, self._recipe.finetuning.lora_rank
        schedule = build_schedule(recipe.schedule)
        adapter = TrlAdapter(
            self._callbacks,
            schedule=schedule,
            checkpoint_files=ADAPTER if lora_rank else TRAINER,
            bf16=recipe.precision.bf16,
        )
        trainer = GuardedTrainer(
            adapter,
            model=model,
            args=_arguments(recipe, self._folder, rows),
            train_dataset=row_dataset(self._packed, recipe, schedule.begins),
            data_collator=RowCollator(self._packed),
            processing_class=AutoTokenizer.from_pretrained(self._tokenizer),
            peft_config=lora_config(recipe, model, self._token_ids) if lora_rank else None,
        )
        if recipe.finetuning.compile == "layers":
            compile_layers(trainer.model)
        resume = latest_valid(self._folder)
        # never `True`: the trainer would take the newest folder by name, complete or not
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        if adapter.is_stopped:
            raise Stopped(f"stopped at step {adapter.step} of {adapter.last_step}; the state is saved")
        trained: Any = trainer.model
        if adapter.kept_checkpoint is not None:
            _load_weights(trained, adapter.kept_checkpoint, is_lora=bool(lora_rank))
        return trained.merge_and_unload() if lora_rank else trained


def compile_layers(model: Any) -> None:
    """Compile the decoder layers in place, under the names that they have; ``TrlAdapter`` evaluates without.

    Raises:
        ValueError: the model's class does not say what its layers are.
    """
    names = set(model._no_split_modules or ())
    layers = [module for module in model.modules() if type(module).__name__ in names]
    if not layers:
        raise ValueError(
            f"compile = 'layers' needs a model that names its layers, and {type(model).__name__} does not; "
            f"set compile=off"
        )
    for layer in layers:
        layer.compile(dynamic=False)


def _load_weights(model: Any, checkpoint: Path, *, is_lora: bool) -> None:
    from safetensors.torch import load_file, load_model

    if not is_lora:
        load_model(model, checkpoint / TRAINER[0])
        return
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(model, load_file(checkpoint / ADAPTER[0]))


def _arguments(recipe: FinetuneRecipe, folder: Path, rows: int) -> Any:
    from trl.trainer.sft_config import SFTConfig

    optimization = recipe.optimization
    return SFTConfig(
        **trainer_settings(folder, per_step=recipe.data.rows_per_step, most=rows, seed=recipe.data.seed),
        max_steps=recipe.schedule.max_steps,
        learning_rate=optimization.learning_rate,
        weight_decay=optimization.weight_decay,
        max_grad_norm=optimization.max_grad_norm,
        bf16=recipe.precision.bf16,
        logging_steps=recipe.monitor.log_every_steps,
        adam_beta2=optimization.adam_beta_2,
        gradient_checkpointing=False,
        packing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="sequential",
        save_strategy="no",  # CheckpointCallback decides
        dataloader_num_workers=0,
    )
