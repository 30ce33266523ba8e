"""Measures our fine-tuning beside TRL's SFTTrainer and a bare loop, on a GPU, in one call.

    python tests/benchmarks/finetune_gpu.py --base FOLDER
    python tests/benchmarks/finetune_gpu.py --base FOLDER --lora-rank 32 --rows 8 --accumulation 8
    python tests/benchmarks/finetune_gpu.py --tiny

``FOLDER`` is a Hub model with its tokenizer. All three train all weights in bf16 autocast on the same random rows, all
tokens in the loss; with ``--lora-rank``, ours and TRL's train low-rank additions. Ours keeps the documents of a row
apart, ``--documents`` of them, and measures, guards and logs as it does in a run, with and without compiled layers;
TRL's and the bare loop see a row as one document. The bare loop has clipping and a fused AdamW. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codeft_assets.base.files import file_hash
from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.vocabulary import read_vocabulary
from codeft_training.measure.metrics import Metrics
from codeft_training.measure.throughput import flops_per_token, peak_tflops
from codeft_training.model import distributed
from codeft_training.recipe import FinetuneRecipe
from codeft_training.recipes import RECIPES
from codeft_training.run_spec import TrainingRun
from codeft_training.train.callbacks.callback import Callback, CallbackList, Engine
from codeft_training.train.finetune import Finetuner
from codeft_training.train.run import build_callbacks, initial_model
from codeft_training.train.signals import StopRequest

CUDA = torch.cuda.is_available()
NUM_ROWS = 512


class Silent:
    """Takes what a run reports."""

    def log(self, line: str) -> None:
        if "out of memory" in line:
            print(line, file=sys.stderr, flush=True)

    def observe(self, values: object) -> None: ...

    def materialize(self, metadata: object, data_version: str) -> None: ...


class Clock(Callback):
    """Notes when each step has ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, engine: Engine | None) -> None:
        del engine
        if CUDA:
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def speed(self, tokens_per_step: int) -> float:
        """Return tokens a second, without the first two steps."""
        kept = self.times[2:]
        return (len(kept) - 1) * tokens_per_step / (kept[-1] - kept[0])


def free() -> None:
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def packed_run(folder: Path, recipe: FinetuneRecipe, num_documents: int) -> TrainingRun:
    """Write random rows as ``pack`` would, ``num_documents`` in each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    base, context = Path(recipe.finetuning.base_model), recipe.data.context_tokens
    vocabulary, rng = read_vocabulary(base), np.random.default_rng(0)
    packed, splits = folder / "packed", {}
    packed.mkdir()
    for split, num_rows in (("train", NUM_ROWS), ("validation", 0)):
        tokens = rng.integers(0, len(vocabulary.ids), (num_rows, context)).astype(np.uint32)
        tokens.tofile(packed / f"{split}.tokens.bin")
        np.ones_like(tokens, dtype=np.uint8).tofile(packed / f"{split}.loss.bin")
        splits[split] = {"num_rows": num_rows, "num_tokens": tokens.size, "num_annealing_rows": 0}
        starts = np.tile(np.arange(num_documents) * (context // num_documents), num_rows).astype(np.uint32)
        rows = np.repeat(np.arange(num_rows, dtype=np.uint32), num_documents)
        lengths = np.full(len(rows), context // num_documents, np.uint32)
        columns = {
            "row": rows,
            "start": starts,
            "length": lengths,
            "domain": pa.array(["code"] * len(rows), pa.string()),
        }
        pq.write_table(pa.table(columns), packed / f"{split}.index.parquet")
    manifest = {
        "content_hash": "0" * 64, "context_tokens": context, "token_type": "uint32", "vocab_size": len(vocabulary.ids),
        "vocabulary_hash": vocabulary.hash, "files": {path.name: file_hash(path) for path in packed.iterdir()},
        "splits": splits, "corpus_content_hash": "",
    }  # fmt: skip
    (packed / "manifest.json").write_text(json.dumps(manifest))
    return TrainingRun(packed=PackedRows(packed), tokenizer=base, output=folder / "out", recipe=recipe, lineage={})


def ours(run: TrainingRun) -> float:
    """Return the tokens a second of our fine-tuning."""
    assert isinstance(run.recipe, FinetuneRecipe)
    clock = Clock()
    run.work.mkdir(parents=True)
    callbacks = build_callbacks(run, Metrics(run.work, Silent()), StopRequest(), distributed.init())
    tuner = Finetuner(
        run.recipe, run.packed, tokenizer=run.tokenizer, folder=run.work, callbacks=CallbackList([callbacks, clock])
    )
    tuner.train(lambda: base_model(run))
    return clock.speed(run.recipe.data.tokens_per_step)


def base_model(run: TrainingRun) -> Any:
    return initial_model(run.recipe)


def plain_trl(run: TrainingRun, rows: int) -> float:
    """Return the tokens a second of TRL's trainer with its own collator and loss, ``rows`` a micro-batch."""
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    class Watch(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.on_step_end(None)

    recipe, clock = run.recipe, Clock()
    assert isinstance(recipe, FinetuneRecipe)
    tokens = list(run.packed.tokens("train").astype(np.int64))
    arguments = SFTConfig(
        output_dir=str(run.output / "trl"), max_steps=recipe.schedule.max_steps, per_device_train_batch_size=rows,
        gradient_accumulation_steps=recipe.data.rows_per_step // rows, bf16=recipe.precision.bf16, use_cpu=not CUDA,
        gradient_checkpointing=False, packing=False, max_length=None, dataset_kwargs={"skip_prepare_dataset": True},
        save_strategy="no", report_to="none", disable_tqdm=True, logging_steps=10,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=base_model(run),
        args=arguments,
        train_dataset=Dataset.from_dict({"input_ids": tokens, "labels": tokens}),
        processing_class=AutoTokenizer.from_pretrained(run.tokenizer),
        callbacks=[Watch()],
        peft_config=plain_lora(recipe),
    )
    trainer.train()
    return clock.speed(recipe.data.tokens_per_step)


def plain_lora(recipe: FinetuneRecipe) -> Any:
    rank = recipe.finetuning.lora_rank
    if not rank:
        return None
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def bare(run: TrainingRun, rows: int) -> float:
    """Return the tokens a second of the least that trains all weights, ``rows`` a micro-batch."""
    recipe, clock, device = run.recipe, Clock(), "cuda" if CUDA else "cpu"
    model = base_model(run).to(device)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    tokens = torch.from_numpy(run.packed.tokens("train").astype(np.int64)).to(device)
    num_micro = recipe.data.rows_per_step // rows
    for step in range(recipe.schedule.max_steps):
        for i in range(num_micro):
            first = (step * num_micro + i) * rows % (len(tokens) - rows)
            ids = tokens[first : first + rows]
            with torch.autocast(device, torch.bfloat16, enabled=recipe.precision.bf16):
                loss = model(input_ids=ids, labels=ids, use_cache=False).loss
            (loss / num_micro).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        clock.on_step_end(None)
    return clock.speed(recipe.data.tokens_per_step)


def fitted(measure: Callable[[TrainingRun, int], float], run: TrainingRun) -> dict[str, Any]:
    """Measure a loop that has no guard against running out of memory, halving its micro-batch for it."""
    rows = run.recipe.data.batch_rows
    while rows:
        free()
        with contextlib.suppress(torch.OutOfMemoryError):
            return {"tokens_per_second": round(measure(run, rows)), "rows": rows, "gpu_gib": peak_gib()}
        rows //= 2
    return {"tokens_per_second": None, "why": "out of memory"}


def peak_gib() -> float | None:
    return round(torch.cuda.max_memory_allocated() / 2**30, 1) if CUDA else None


def tiny_base(folder: Path) -> Path:
    """Write a base model that a CPU trains in seconds."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    words = models.WordLevel({f"t{i}": i for i in range(256)}, unk_token="t0")
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), eos_token="t0", pad_token="t1").save_pretrained(folder)
    config = Qwen2Config(
        vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def measured(run: TrainingRun) -> dict[str, Any]:
    """Return the speed of all three."""
    from transformers import AutoConfig

    free()
    assert isinstance(run.recipe, FinetuneRecipe)
    found: dict[str, Any] = {"ours": {"tokens_per_second": round(ours(run)), "gpu_gib": peak_gib()}}
    free()
    eager = replace(run, recipe=run.recipe.override(compile="off"))
    found["ours_eager"] = {"tokens_per_second": round(ours(eager)), "gpu_gib": peak_gib()}
    found["trl"] = fitted(plain_trl, run)
    if not run.recipe.finetuning.lora_rank:
        found["bare"] = fitted(bare, run)
    speed = found["ours"]["tokens_per_second"]
    for name in found.keys() - {"ours"}:
        other = found[name]["tokens_per_second"]
        found[f"ratio_to_{name}"] = round(speed / other, 3) if other else None
    flops = flops_per_token(
        AutoConfig.from_pretrained(run.recipe.finetuning.base_model), run.recipe.data.context_tokens
    )
    peak = peak_tflops(torch.cuda.get_device_name()) if CUDA else None
    found["tflops"] = round(speed * flops / 1e12, 3)
    return found | ({"mfu": round(found["tflops"] / peak, 4)} if peak else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="folder of a Hub model with its tokenizer")
    parser.add_argument("--rows", type=int, default=16, help="rows a micro-batch")
    parser.add_argument("--accumulation", type=int, default=4, help="micro-batches a step")
    parser.add_argument("--context", type=int, default=1024, help="tokens a row")
    parser.add_argument("--documents", type=int, default=4, help="documents a row, for ours")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--lora-rank", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="a model that a CPU can do, to test this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        base = tiny_base(Path(name) / "base") if options.tiny else options.base
        recipe = RECIPES["qwen2.5-0.5b-sft"].override(
            base_model=str(base), lora_rank=options.lora_rank, max_steps=options.steps, validation_rows=0,
            log_every_steps=10, save_every_steps=10**6, validate_every_steps=10**6, batch_rows=options.rows,
            accumulation_steps=options.accumulation, context_tokens=options.context, compile="layers",
        )  # fmt: skip
        assert isinstance(recipe, FinetuneRecipe)
        device = torch.cuda.get_device_name() if CUDA else "cpu"
        settings = {
            "device": device,
            "torch": torch.__version__,
            "base": str(base.name),
            "lora_rank": options.lora_rank,
        }
        print(json.dumps(settings | measured(packed_run(Path(name), recipe, options.documents))))


if __name__ == "__main__":
    main()
