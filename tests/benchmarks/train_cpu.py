"""Measures what training costs on a CPU beside the least that trains: a bare torch loop over the same Hub model.

    python tests/benchmarks/train_cpu.py --json

All times are CPU seconds of one thread for one step (best of several, the loops taken in turns), so other processes
change them little. The model has 4.2M parameters, a step is 8 rows of 512 tokens. ``ratio_to_bare_loop`` is our step
loop with the bare loop's optimizer, AdamW; ``muon_ratio_to_bare_loop`` is what our recipes use. The bare loop reads the
same rows, clips gradients and does nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it

from codeft_assets.base.files import file_hash
from codeft_training.data.batches import Batches
from codeft_training.data.packed_rows import PackedRows
from codeft_training.measure.metrics import Metrics
from codeft_training.model import distributed
from codeft_training.recipe import FinetuneRecipe, PretrainRecipe
from codeft_training.recipe_groups import FinetuningConfig
from codeft_training.recipes import SMOKE
from codeft_training.run_spec import TrainingRun
from codeft_training.train.finetune import Finetuner
from codeft_training.train.run import build_callbacks, build_pretrainer, initial_model
from codeft_training.train.signals import StopRequest

RECIPE = SMOKE.override(
    vocab_size=4096, context_tokens=512, hidden_size=256, num_layers=4, num_heads=4,
    num_kv_heads=2, intermediate_size=768, batch_rows=8, optimizer="adamw", max_steps=1000, z_loss=0.0,
    log_every_steps=1, validate_every_steps=10**6, save_every_steps=10**6,
)  # fmt: skip
NUM_ROWS = 512
TARGET = 1.03


def print_progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Clock:
    """Takes what a run reports and notes the CPU time of each step's line."""

    def __init__(self) -> None:
        self.times = [time.process_time()]

    def log(self, line: str) -> None:
        if line.startswith("step "):
            self.times.append(time.process_time())

    def observe(self, values: object) -> None: ...

    def materialize(self, metadata: object, data_version: str) -> None: ...


def training_run(folder: Path, recipe: PretrainRecipe) -> TrainingRun:
    """Write random rows as ``pack`` would, and a tokenizer that belongs to them."""
    vocab_size, context_tokens = recipe.model.vocab_size, recipe.data.context_tokens
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    packed, rng = folder / "packed", np.random.default_rng(0)
    packed.mkdir(parents=True)
    splits = {}
    for split, num in (("train", NUM_ROWS), ("validation", 0)):
        tokens = rng.integers(0, vocab_size, (num, context_tokens)).astype(np.uint16)
        tokens.tofile(packed / f"{split}.tokens.bin")
        np.ones_like(tokens, dtype=np.uint8).tofile(packed / f"{split}.loss.bin")
        splits[split] = {"num_rows": num, "num_tokens": tokens.size, "num_annealing_rows": 0}
        index = {name: pa.array(range(num), pa.uint32()) for name in ("row", "start", "length")}
        index["domain"] = pa.array(["code"] * num, pa.string())
        pq.write_table(pa.table(index), packed / f"{split}.index.parquet")
    files = {path.name: file_hash(path) for path in sorted(packed.iterdir())}
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    manifest = {"content_hash": digest, "context_tokens": context_tokens, "token_type": "uint16"}
    manifest |= {"vocab_size": vocab_size, "files": files, "splits": splits, "corpus_content_hash": ""}
    (packed / "manifest.json").write_text(json.dumps(manifest))
    words = models.WordLevel({f"t{i}": i for i in range(vocab_size)}, unk_token="t0")
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), eos_token="t0", pad_token="t1")
    fast.save_pretrained(folder / "tokenizer")
    return TrainingRun(
        packed=PackedRows(packed), tokenizer=folder / "tokenizer", output=folder / "out", recipe=recipe, lineage={}
    )


def hub_model(run: TrainingRun) -> Any:
    """Return the Hub model that every loop trains."""
    return initial_model(run.recipe)


def bare(run: TrainingRun) -> Iterator[float]:
    """Yield the CPU seconds of each step of the least that trains."""
    model, recipe = hub_model(run), run.recipe
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    batches = Batches(run.packed, recipe.data)
    begins = batches.phase_begins((0,), recipe.schedule.max_steps)
    for step in range(recipe.schedule.max_steps):
        start = time.process_time()
        for batch in batches.micro_batches(batches.readings(step, begins), recipe.data.batch_rows):
            logits = model(input_ids=torch.from_numpy(batch.ids)).logits
            F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(batch.labels).flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield time.process_time() - start


def ours(run: TrainingRun) -> Iterator[float]:
    """Yield the CPU seconds of each step of our loop, metrics and log line included."""
    run.work.mkdir(parents=True)
    context = distributed.init()
    callbacks = build_callbacks(run, Metrics(run.work, Clock()), StopRequest(), context)
    pretrainer = build_pretrainer(run, callbacks, context)
    pretrainer.resume()
    for _ in range(run.recipe.schedule.max_steps):
        start = time.process_time()
        pretrainer.train_step()
        yield time.process_time() - start


def sft(run: TrainingRun, num_steps: int) -> float:
    """Return the CPU seconds of the best step of our fine-tuning by SFTTrainer."""
    clock, common = Clock(), run.recipe.override(max_steps=num_steps, warmup_fraction=0, decay_fraction=0)
    groups = {name: getattr(common, name) for name in ("data", "optimization", "schedule", "monitor")}
    recipe = FinetuneRecipe(name="sft", about="", finetuning=FinetuningConfig(base_model="not loaded"), **groups)
    spec, folder = replace(run, recipe=recipe), run.output / "sft"
    folder.mkdir(parents=True)
    callbacks = build_callbacks(spec, Metrics(folder, clock), StopRequest(), distributed.init())
    finetuner = Finetuner(recipe, spec.packed, tokenizer=spec.tokenizer, folder=folder, callbacks=callbacks)
    finetuner.train(lambda: hub_model(run))
    return float(np.diff(clock.times)[1:].min())  # the first holds the trainer's own start


def trainer(run: TrainingRun, num_steps: int) -> float:
    """Return the CPU seconds of the best step of ``transformers.Trainer``."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    times: list[float] = []

    class Watch(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.process_time())

    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return NUM_ROWS

        def __getitem__(self, number: int) -> dict[str, Any]:
            ids = tokens[number].astype(np.int64)
            return {"input_ids": ids, "labels": ids}

    tokens = run.packed.tokens("train")
    with tempfile.TemporaryDirectory() as name:
        arguments = TrainingArguments(
            output_dir=name, max_steps=num_steps, per_device_train_batch_size=run.recipe.data.batch_rows, use_cpu=True,
            save_strategy="no", logging_steps=1, report_to="none", disable_tqdm=True, optim="adamw_torch_fused",
        )  # fmt: skip
        Trainer(model=hub_model(run), args=arguments, train_dataset=Rows(), callbacks=[Watch()]).train()
    return float(np.diff(times).min())


def in_turns(loops: dict[str, Iterator[float]], num_steps: int) -> dict[str, float]:
    """Return each loop's best step, one step of each at a time."""
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(num_steps):
        for name, loop in loops.items():
            times[name].append(next(loop))
    return {name: min(values[1:]) for name, values in times.items()}


def measured(num_steps: int, change: Callable[[PretrainRecipe], PretrainRecipe]) -> dict[str, float]:
    """Return the CPU seconds of a step of every loop."""
    recipe = change(RECIPE)
    with tempfile.TemporaryDirectory() as name:
        runs = {
            kind: training_run(Path(name) / kind, recipe.override(optimizer=kind.removeprefix("ours, ")))
            for kind in ("ours, adamw", "ours, muon")
        }
        first = runs["ours, adamw"]
        found = in_turns({"bare": bare(first)} | {kind: ours(run) for kind, run in runs.items()}, num_steps)
        return found | {"Trainer": trainer(first, num_steps), "SFTTrainer": sft(first, num_steps)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--tiny", action="store_true", help="a model of 0.2M parameters, to test this file")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    tiny = {"vocab_size": 256, "context_tokens": 64, "hidden_size": 64, "intermediate_size": 128}
    torch.set_num_threads(1)
    found = measured(options.steps, lambda recipe: recipe.override(**(tiny if options.tiny else {})))
    ratios = {name: seconds / found["bare"] for name, seconds in found.items()}
    for name, seconds in found.items():
        print_progress(f"{name:12} {seconds:7.3f} CPU s a step   {ratios[name]:5.3f}x the bare loop")
    print_progress(f"target: ours <= {TARGET}x")
    if options.json:
        result = {
            "ratio_to_bare_loop": round(ratios["ours, adamw"], 4),
            "muon_ratio_to_bare_loop": round(ratios["ours, muon"], 4),
            "trainer_ratio_to_bare_loop": round(ratios["Trainer"], 4),
            "sft_ratio_to_bare_loop": round(ratios["SFTTrainer"], 4),
        }
        print(json.dumps(result))


if __name__ == "__main__":
    main()
