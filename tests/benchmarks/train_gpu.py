"""Measures our step loop on a GPU beside a bare compiled loop and the transformers Trainer, in one call.

    python tests/benchmarks/train_gpu.py --json
    python tests/benchmarks/train_gpu.py --models 46M --micro 64 --compile model --attention flash cudnn --seconds 300

Needs torch, transformers, numpy, safetensors and tokenizers; the Trainer is measured where accelerate is installed.
For each model the first measurements are the recipe's own setting, the bare loop and the Trainer; the sweep goes on
until ``--seconds`` are used. All train on the same number of tokens a step, and all tokens are in the loss. The bare
loop is a hand-written module of the same shape in bf16, compiled whole, with a fused AdamW: no clipping, no guards, no
metrics.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import importlib.util
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import nn

from codeft_assets.base.files import file_hash
from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.variation import MASK_TOKEN
from codeft_training.measure.metrics import Metrics
from codeft_training.measure.throughput import flops_per_token, peak_tflops
from codeft_training.model import distributed
from codeft_training.recipe import PretrainRecipe
from codeft_training.recipes import H200_10MIN, H200_30MIN
from codeft_training.run_spec import TrainingRun
from codeft_training.train.run import build_callbacks, build_pretrainer, initial_model
from codeft_training.train.signals import StopRequest

CUDA = torch.cuda.is_available()
MODELS = {"46M": H200_10MIN, "103M": H200_30MIN}
TINY = {
    "vocab_size": 512, "context_tokens": 64, "hidden_size": 64, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2,
    "intermediate_size": 128, "batch_rows": 4, "accumulation_steps": 2, "bf16": False, "compile": "off",
}  # fmt: skip
ATTENTION = {"flash": (True, False), "cudnn": (False, True)}
WAYS = ("options", "bare", "eager", "trainer")
REPETITION = {
    "weight_decay_schedule": "falling", "dropout": 0.1, "document_order": "shuffled", "ema_decay": 0.98,
    "masked_inputs": 0.12,
}  # fmt: skip
"""All options for repeated data that change a step."""


def print_progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Silent:
    """Takes what a run reports."""

    def log(self, line: str) -> None:
        if "out of memory" in line:
            print_progress(f"    {line}")

    def observe(self, values: object) -> None: ...

    def materialize(self, metadata: object, data_version: str) -> None: ...


def wait() -> None:
    if CUDA:
        torch.cuda.synchronize()


def free() -> None:
    gc.collect()
    if CUDA:
        torch._dynamo.reset()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def tokens_per_second(step: Callable[[], object], num_tokens: int, seconds: float) -> tuple[float, float]:
    """Return the speed after two steps that compile, and the seconds those took."""
    start = time.perf_counter()
    for _ in range(2):
        step()
    wait()
    first = time.perf_counter() - start
    start, num_steps = time.perf_counter(), 0
    while num_steps < 3 or time.perf_counter() - start < seconds:
        step()
        wait()
        num_steps += 1
    return num_steps * num_tokens / (time.perf_counter() - start), first


def matmul_ceiling() -> float:
    """Return the best TFLOP/s of square bf16 matrix products."""
    best, size = 0.0, 8192 if CUDA else 512
    dtype, device = (torch.bfloat16, "cuda") if CUDA else (torch.float32, "cpu")
    a, b = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    for _ in range(5):
        wait()
        start = time.perf_counter()
        for _ in range(10):
            a @ b
        wait()
        best = max(best, 10 * 2 * size**3 / (time.perf_counter() - start) / 1e12)
    return best


def packed_folder(folder: Path, recipe: PretrainRecipe, num_rows: int = 4096) -> TrainingRun:
    """Write random rows as ``pack`` would, and the tokenizer that belongs to them."""
    packed, tokenizer = folder / "packed", folder / "tokenizer"
    packed.mkdir()
    tokenizer.mkdir()
    rng, files, splits = np.random.default_rng(0), {}, {}
    for split, num in (("train", num_rows), ("validation", 0)):
        tokens = rng.integers(0, recipe.model.vocab_size, (num, recipe.data.context_tokens)).astype(np.uint16)
        tokens.tofile(packed / f"{split}.tokens.bin")
        np.ones_like(tokens, dtype=np.uint8).tofile(packed / f"{split}.loss.bin")
        splits[split] = {"num_rows": num, "num_tokens": tokens.size, "num_annealing_rows": 0}
        write_index(packed / f"{split}.index.parquet", num, recipe.data.context_tokens)
    for path in sorted(packed.iterdir()):
        files[path.name] = file_hash(path)
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    manifest = {"content_hash": digest, "context_tokens": recipe.data.context_tokens, "token_type": "uint16"}
    manifest |= {"vocab_size": recipe.model.vocab_size, "files": files, "splits": splits, "corpus_content_hash": ""}
    (packed / "manifest.json").write_text(json.dumps(manifest))
    from tokenizers import Tokenizer, models

    names = ["t0", MASK_TOKEN, *(f"t{i}" for i in range(2, recipe.model.vocab_size))]
    words = models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="t0")
    Tokenizer(words).save(str(tokenizer / "tokenizer.json"))
    return TrainingRun(
        packed=PackedRows(packed), tokenizer=tokenizer, output=folder / "output", recipe=recipe, lineage={}
    )


def write_index(path: Path, num_rows: int, context_tokens: int) -> None:
    """Write where documents begin, four a row, where pyarrow is installed: attention by document needs it."""
    if importlib.util.find_spec("pyarrow") is None:
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = np.repeat(np.arange(num_rows, dtype=np.uint32), 4)
    starts = np.tile(np.arange(4, dtype=np.uint32) * (context_tokens // 4), num_rows)
    lengths = np.full(len(rows), context_tokens // 4, np.uint32)
    columns = {"row": rows, "start": starts, "length": lengths, "domain": pa.array(["code"] * len(rows), pa.string())}
    pq.write_table(pa.table(columns), path)


def ours(recipe: PretrainRecipe, seconds: float, profile: bool = False) -> dict[str, Any]:
    """Measure the loop that trains recipes, guards, clipping, Muon and all."""
    free()
    with tempfile.TemporaryDirectory() as name:
        run = packed_folder(Path(name), recipe)
        run.work.mkdir(parents=True)
        context = distributed.init()
        callbacks = build_callbacks(run, Metrics(run.work, Silent()), StopRequest(), context)
        pretrainer = build_pretrainer(run, callbacks, context)
        pretrainer.resume()
        speed, first = tokens_per_second(pretrainer.train_step, recipe.data.tokens_per_step, seconds)
        if profile:
            show_profile(pretrainer.train_step)
        found = {"tokens_per_second": round(speed), "first_steps_seconds": round(first, 1), "gpu_gib": peak_gib()}
        if pretrainer.state.micro_rows != recipe.data.batch_rows:
            found["rows_that_fit"] = pretrainer.state.micro_rows
    return found


def peak_gib() -> float | None:
    return round(torch.cuda.max_memory_allocated() / 2**30, 1) if CUDA else None


def show_profile(step: Callable[[], object]) -> None:
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if CUDA else [])]
    with profile(activities=activities) as found:
        step()
        wait()
    key = "self_cuda_time_total" if CUDA else "self_cpu_time_total"
    print_progress(found.key_averages().table(sort_by=key, row_limit=30, max_name_column_width=90))


class BareLayer(nn.Module):
    def __init__(self, recipe: PretrainRecipe) -> None:
        super().__init__()
        hidden, inner = recipe.model.hidden_size, recipe.model.intermediate_size
        self.heads, self.keys = recipe.model.num_heads, recipe.model.num_kv_heads
        self.size = hidden // recipe.model.num_heads
        self.qkv = nn.Linear(hidden, (self.heads + 2 * self.keys) * self.size, bias=False)
        self.out, self.up, self.down = (
            nn.Linear(a, b, bias=False) for a, b in ((hidden, hidden), (hidden, 2 * inner), (inner, hidden))
        )
        self.norms = nn.ParameterList([nn.Parameter(torch.ones(n)) for n in (hidden, hidden, self.size, self.size)])

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        rows, context, _ = x.shape
        heads = self.qkv(norm(x, self.norms[0])).view(rows, context, -1, self.size)
        q, k, v = heads.split([self.heads, self.keys, self.keys], dim=2)
        q, k = rotate(norm(q, self.norms[2]), cos, sin), rotate(norm(k, self.norms[3]), cos, sin)
        mixed = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True, enable_gqa=self.heads != self.keys
        )
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, context, -1))
        gate, up = self.up(norm(x, self.norms[1])).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class BareModel(nn.Module):
    def __init__(self, recipe: PretrainRecipe) -> None:
        super().__init__()
        self.embedding = nn.Embedding(recipe.model.vocab_size, recipe.model.hidden_size)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.layers = nn.ModuleList(BareLayer(recipe) for _ in range(recipe.model.num_layers))
        self.norm = nn.Parameter(torch.ones(recipe.model.hidden_size))
        size = recipe.model.hidden_size // recipe.model.num_heads
        angles = torch.outer(torch.arange(recipe.data.context_tokens), 10000 ** (-torch.arange(0, size, 2) / size))
        self.register_buffer("cos", angles.cos()[:, None])
        self.register_buffer("sin", angles.sin()[:, None])

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = F.linear(norm(x, self.norm), self.embedding.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())


def bare(recipe: PretrainRecipe, seconds: float) -> dict[str, Any]:
    """Measure the least that trains: a bf16 module compiled whole, its loss, a fused AdamW."""
    free()
    device = torch.device("cuda" if CUDA else "cpu")
    model: Any = BareModel(recipe).to(device, torch.bfloat16 if CUDA else torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    forward = torch.compile(model, dynamic=False) if CUDA else model
    shape = (recipe.data.batch_rows, recipe.data.context_tokens + 1)
    ids = torch.randint(0, recipe.model.vocab_size, shape, device=device)

    def step() -> None:
        for _ in range(recipe.data.accumulation_steps):
            forward(ids[:, :-1], ids[:, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()

    speed, first = tokens_per_second(step, recipe.data.tokens_per_step, seconds)
    return {"tokens_per_second": round(speed), "first_steps_seconds": round(first, 1), "gpu_gib": peak_gib()}


def fitted(
    measure: Callable[[PretrainRecipe, float], dict[str, Any]], recipe: PretrainRecipe, seconds: float
) -> dict[str, Any]:
    """Measure a loop that has no guard against running out of memory, halving its micro-batch for it."""
    while recipe.data.batch_rows > 1:
        with contextlib.suppress(torch.OutOfMemoryError):
            return measure(recipe, seconds) | {"rows": recipe.data.batch_rows}
        recipe = recipe.override(
            batch_rows=recipe.data.batch_rows // 2, accumulation_steps=recipe.data.accumulation_steps * 2
        )
    return {"tokens_per_second": None, "why": "out of memory"}


def eager(recipe: PretrainRecipe, seconds: float) -> dict[str, Any]:
    """Measure what the Trainer wraps: the Hub model, eager, under bf16 autocast, with clipping and a fused AdamW."""
    free()
    device = "cuda" if CUDA else "cpu"
    model: Any = initial_model(recipe).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    rows = max(recipe.data.batch_rows // 2, 1)
    ids = torch.randint(0, recipe.model.vocab_size, (rows, recipe.data.context_tokens), device=device)

    def step() -> None:
        for _ in range(recipe.data.batch_rows * recipe.data.accumulation_steps // rows):
            with torch.autocast(device, torch.bfloat16, enabled=recipe.precision.bf16):
                loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    speed, first = tokens_per_second(step, recipe.data.tokens_per_step, seconds)
    return {"tokens_per_second": round(speed), "first_steps_seconds": round(first, 1), "gpu_gib": peak_gib()}


def trainer(recipe: PretrainRecipe) -> dict[str, Any]:
    """Measure ``transformers.Trainer``, eager, bf16 autocast, at its best of two micro-batches."""
    if importlib.util.find_spec("accelerate") is None:
        return {"tokens_per_second": None, "why": "accelerate is not installed"}
    found = []
    for rows in (recipe.data.batch_rows, max(recipe.data.batch_rows // 4, 1)):
        free()
        with contextlib.suppress(torch.OutOfMemoryError):
            found.append(trainer_speed(recipe, rows))
    return {"tokens_per_second": round(max(found))} if found else {"tokens_per_second": None, "why": "out of memory"}


def trainer_speed(recipe: PretrainRecipe, rows: int) -> float:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            wait()
            self.times.append(time.perf_counter())

    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 10**6

        def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
            return {"input_ids": ids[number % len(ids)], "labels": ids[number % len(ids)]}

    ids = torch.randint(0, recipe.model.vocab_size, (512, recipe.data.context_tokens))
    num_steps, clock = 5, Clock()
    with tempfile.TemporaryDirectory() as name:
        arguments = TrainingArguments(
            output_dir=name, max_steps=num_steps, per_device_train_batch_size=rows,
            gradient_accumulation_steps=max(recipe.data.batch_rows * recipe.data.accumulation_steps // rows, 1),
            bf16=recipe.precision.bf16 and CUDA, use_cpu=not CUDA, save_strategy="no", logging_strategy="no",
            report_to="none", disable_tqdm=True, remove_unused_columns=False,
        )  # fmt: skip
        model = initial_model(recipe)
        Trainer(model=model, args=arguments, train_dataset=Rows(), callbacks=[clock]).train()
    return (num_steps - 1) * recipe.data.tokens_per_step / (clock.times[-1] - clock.times[0])


def choose_attention(name: str) -> None:
    flash, cudnn = ATTENTION.get(name, (True, True))
    torch.backends.cuda.enable_flash_sdp(flash)
    torch.backends.cuda.enable_cudnn_sdp(cudnn)


def configured(recipe: PretrainRecipe, micro: int, compiled: str, attention: str, optimizer: str) -> PretrainRecipe:
    total = recipe.data.batch_rows * recipe.data.accumulation_steps
    micro = min(micro, total)
    kind = "documents" if attention == "documents" else "causal"
    changes = {"batch_rows": micro, "accumulation_steps": max(total // micro, 1)}
    return recipe.override(**changes, compile=compiled, attention=kind, optimizer=optimizer)


def measured(
    name: str, recipe: PretrainRecipe, options: argparse.Namespace, deadline: float, ceiling: float
) -> dict[str, Any]:
    """Return all measurements of one model."""
    config: Any = initial_model(recipe).config
    flops = flops_per_token(config, recipe.data.context_tokens)

    def row(label: str, found: dict[str, Any]) -> dict[str, Any]:
        speed = found["tokens_per_second"]
        if speed:
            found |= {"tflops": round(speed * flops / 1e12, 3)}
            found |= {"share_of_matmul": round(found["tflops"] / ceiling, 4)}
        print_progress(f"  {name:5} {label:44} {json.dumps(found)}")
        return found

    choose_attention("flash")
    best = row("ours, as the recipe says", ours(recipe, options.each, options.profile))
    result: dict[str, Any] = {"gflop_per_token": round(flops / 1e9, 4), "ours": best}
    others: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
        "options": ("ours, options for repeated data", lambda: ours(recipe.override(**REPETITION), options.each)),
        "bare": ("bare compiled loop", lambda: fitted(bare, recipe, options.each)),
        "eager": ("bare eager loop over the Hub model", lambda: fitted(eager, recipe, options.each)),
        "trainer": ("transformers.Trainer, eager", lambda: trainer(recipe)),
    }
    for way in options.ways:
        result[way] = row(others[way][0], others[way][1]())
    result["sweep"] = []
    for choice in itertools.product(options.micro, options.compile, options.attention, options.optimizer):
        wanted, attention = configured(recipe, *choice), choice[2]
        if time.perf_counter() > deadline:
            print_progress("  the time is used up; the rest of the sweep is left out")
            break
        if wanted == recipe and attention == "flash":
            continue
        choose_attention(attention)
        label = f"ours, {choice[0]} rows, {', '.join(choice[1:])}"
        found = row(label, ours(wanted, options.each))
        result["sweep"].append(dict(zip(("rows", "compile", "attention", "optimizer"), choice, strict=True)) | found)
    speeds = [best["tokens_per_second"], *(entry["tokens_per_second"] for entry in result["sweep"])]
    result["best_tokens_per_second"] = max(speeds)
    for other in options.ways:
        speed = result[other]["tokens_per_second"]
        result[f"ratio_to_{other}"] = round(best["tokens_per_second"] / speed, 3) if speed else None
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--micro", nargs="+", type=int, default=[32, 64, 128])
    parser.add_argument("--compile", nargs="+", default=["layers", "model"], choices=["off", "layers", "model"])
    parser.add_argument("--attention", nargs="+", default=["flash"], choices=["flash", "cudnn", "documents"])
    parser.add_argument("--optimizer", nargs="+", default=["muon"], choices=["muon", "adamw"])
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=WAYS, help="measured beside the recipe")
    parser.add_argument("--set", nargs="*", default=[], help="NAME=VALUE: fields of the recipe, in all of ours")
    parser.add_argument("--seconds", type=float, default=60.0, help="no measurement of the sweep begins after these")
    parser.add_argument("--each", type=float, default=2.0, help="seconds of each measurement after compiling")
    parser.add_argument("--profile", action="store_true", help="show the kernels of one of our steps")
    parser.add_argument("--tiny", action="store_true", help="shapes that a CPU can do, to test this file")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    start, ceiling = time.perf_counter(), matmul_ceiling()
    device = torch.cuda.get_device_name() if CUDA else "cpu"
    result: dict[str, Any] = {"device": device, "torch": torch.__version__, "matmul_tflops": round(ceiling, 3)}
    result |= {"peak_tflops": peak_tflops(device) if CUDA else None, "models": {}}
    print_progress(f"{device}, torch {torch.__version__}: matmul {ceiling:.1f} TFLOP/s")
    for number, name in enumerate(options.models, start=1):
        recipe = MODELS[name].override(max_steps=1000, log_every_steps=20, save_every_steps=10**6,
                         validate_every_steps=10**6, budget_seconds=0, **(TINY if options.tiny else {}))  # fmt: skip
        recipe = recipe.parse(dict(text.split("=", 1) for text in options.set))
        deadline = start + options.seconds * number / len(options.models)
        result["models"][name] = measured(name, recipe, options, deadline, ceiling)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
