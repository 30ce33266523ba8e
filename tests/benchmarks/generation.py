"""Tokens a second of our engines, of a static loop over ``generate``, and of continuous batching, in one process.

    python tests/benchmarks/generation.py [--model FOLDER] [--device cuda] [--seconds 85] [--output FILE]

With `--model`, a Hub folder writes the embedded benchmark's programs: each prompt begins with a comment of its own, so
no two are equal. Without it, a Llama with random weights (0.35B in bfloat16 on a GPU, tiny in float32 on a CPU), whose
prompts get a limit of their own, because its texts do not end by themselves.

A token counts when it is part of a completion: after its end, its stop or its limit none does. The static loop takes
the prompts in the order of the file and lets a batch run until its longest completion ends. Each way gets a share of
the time and is stopped there; its rate is then that of the completions finished by then, which is too low for the
graphs. What is known is written to `--output` after each way, and the process ends when the time is over, whatever it
does. `--cudnn` leaves cuDNN's attention on, as it is by default: what it says differs from run to run.
"""

import argparse
import json
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.generation.decoding import Decoding, Prompt, cut_at_stop
from codeft_eval.generation.engines import continuously, in_batches, in_graphs

VOCABULARY = 8192
SIZES = {"cuda": (1024, 24, 16, "bfloat16"), "cpu": (128, 2, 4, "float32")}
LONGEST = {"cuda": 512, "cpu": 48}
WAYS = ("graphs", "graphs_sampled", "static_loop", "batches", "continuous")
SHARES = {"graphs": 0.3, "graphs_sampled": 0.3, "static_loop": 0.12, "batches": 0.08, "continuous": 0.12}
"""Of the time, for a way and its repetition."""
REPEATED = ("graphs", "graphs_sampled")
Texts = dict[Prompt, str]


class Letters:
    """Enough of a tokenizer: a token is a character."""

    pad_token_id, eos_token_id = 0, VOCABULARY - 1

    def decode(self, tokens: list[int], **_: object) -> str:
        return "".join(chr(0x4E00 + token) for token in tokens)

    def batch_decode(self, rows: list[list[int]]) -> list[str]:
        return [self.decode(row) for row in rows]


@dataclass
class Bench:
    """What is measured, and what is known so far."""

    model: Any
    tokenizer: Any
    prompts: list[Prompt]
    decoding: Decoding
    small_batch: int
    output: Path | None
    result: dict[str, Any] = field(default_factory=dict)

    def write(self) -> None:
        if self.output:
            temporary = self.output.with_suffix(".tmp")
            temporary.write_text(json.dumps(self.result, indent=1) + "\n")
            temporary.replace(self.output)

    def num_tokens(self, texts: Texts) -> int:
        if isinstance(self.tokenizer, Letters):
            return sum(map(len, texts.values()))
        return sum(map(len, self.tokenizer(list(texts.values()), add_special_tokens=False)["input_ids"]))


def random_model(device: str) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    width, num_layers, num_heads, dtype = SIZES[device]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=num_layers,
        num_attention_heads=num_heads, num_key_value_heads=num_heads, max_position_embeddings=2048, pad_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(device=device, dtype=getattr(torch, dtype)).eval()


def random_prompts(num_prompts: int, device: str) -> list[Prompt]:
    draw = random.Random(0)
    longest = LONGEST[device]
    return [
        Prompt(
            task_id=str(number), sample=0,
            tokens=tuple(draw.randrange(1, VOCABULARY - 1) for _ in range(draw.randrange(longest // 4, longest))),
            max_new_tokens=max(8, int(longest * draw.random() ** 2)),
        )
        for number in range(num_prompts)
    ]  # fmt: skip


def code_prompts(num_prompts: int, tokenizer: Any, limit: int) -> list[Prompt]:
    items = load_items(BENCHMARKS["embedded"])
    texts = [f"# Exercise {n}\n{items[n % len(items)].prompt.rstrip()}" for n in range(num_prompts)]
    rows = tokenizer(texts)["input_ids"]
    return [Prompt(task_id=str(n), sample=0, tokens=tuple(row), max_new_tokens=limit) for n, row in enumerate(rows)]


def static_loop(bench: Bench) -> Iterator[Texts]:
    """The plain baseline: batches in file order, each as long as its longest completion."""
    import torch

    limit, size = max(prompt.max_new_tokens for prompt in bench.prompts), bench.small_batch
    ends = bench.decoding.end_tokens(bench.tokenizer)
    pad = bench.tokenizer.pad_token_id or 0
    for start in range(0, len(bench.prompts), size):
        batch = bench.prompts[start : start + size]
        width = max(len(prompt.tokens) for prompt in batch)
        rows = torch.tensor([[pad] * (width - len(p.tokens)) + list(p.tokens) for p in batch])
        mask = torch.tensor([[0] * (width - len(p.tokens)) + [1] * len(p.tokens) for p in batch])
        with torch.inference_mode():
            written = bench.model.generate(
                rows.to(bench.model.device), attention_mask=mask.to(bench.model.device), do_sample=False,
                max_new_tokens=limit, pad_token_id=pad, eos_token_id=ends,
            )  # fmt: skip
        found = {}
        for prompt, row in zip(batch, written[:, width:].tolist(), strict=True):
            kept = row[: prompt.max_new_tokens]
            last = min([kept.index(end) for end in ends if end in kept], default=len(kept))
            text = bench.tokenizer.decode(kept[:last], skip_special_tokens=True)
            found[prompt] = cut_at_stop(text, bench.decoding.stops)
        yield found


def parts_of(bench: Bench, way: str) -> Iterator[Texts]:
    """Return the completions of one way as they come."""
    ordered = sorted(bench.prompts, key=lambda prompt: (-len(prompt.tokens), prompt.task_id))
    small = replace(bench.decoding, batch_size=bench.small_batch)
    sampled = replace(bench.decoding, temperature=0.8, top_p=0.95)
    rest = (bench.model, bench.tokenizer)
    few = bench.prompts[: 4 * bench.small_batch]
    ways: dict[str, Callable[[], Iterator[Texts]]] = {
        "static_loop": lambda: static_loop(bench),
        "batches": lambda: in_batches(*rest, ordered, small, lambda _key: True),
        "graphs": lambda: in_graphs(*rest, ordered, bench.decoding, lambda _key: True),
        "graphs_sampled": lambda: in_graphs(*rest, ordered, sampled, lambda _key: True),
        "continuous": lambda: continuously(*rest, few, small, lambda _key: True),
    }
    return ways[way]()


def run_way(bench: Bench, way: str, seconds: float) -> tuple[Texts, float, float]:
    """Return completions, the seconds until the last of them, and how many tokens a second they make."""
    begin = time.perf_counter()
    found: Texts = {}
    taken = 0.0
    for part in parts_of(bench, way):
        found |= part
        taken = time.perf_counter() - begin
        if taken > seconds:
            break
    return found, taken, bench.num_tokens(found) / taken


def measure(bench: Bench, way: str, seconds: float, base: dict[str, Texts]) -> None:
    """Run a way, once more where that is asked for, and note what it did."""
    on_gpu = bench.model.device.type == "cuda"
    if on_gpu:
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        runs = [
            run_way(bench, way, seconds / (2 if way in REPEATED else 1)) for _ in range(2 if way in REPEATED else 1)
        ]
    except Exception as error:  # noqa: BLE001  one way that fails must not hide the others
        bench.result[way] = f"n/a: {type(error).__name__}: {str(error)[:300]}"
        print(f"{way:15} {bench.result[way]}", flush=True)
        return
    texts, taken, _rate = runs[0]
    best = max(rate for _, _, rate in runs)
    found: dict[str, Any] = {"tokens_per_second": round(best, 1), "seconds": round(taken, 2), "completions": len(texts)}
    found["runs"] = [round(rate, 1) for _, _, rate in runs]
    found["is_whole"] = len(texts) == len(bench.prompts)
    if on_gpu:
        found["peak_gigabytes"] = round(torch.cuda.max_memory_allocated() / 1e9, 1)
    if len(runs) > 1:
        both = [prompt for prompt in texts if prompt in runs[1][0]]
        found["same_again"] = sum(runs[1][0][prompt] == texts[prompt] for prompt in both) / max(1, len(both))
    greedy = base.setdefault("greedy", texts) if way != "graphs_sampled" else {}
    both = [prompt for prompt in texts if prompt in greedy]
    if both:
        found["same_as_graphs"] = sum(greedy[prompt] == texts[prompt] for prompt in both) / len(both)
    bench.result[way] = found
    print(f"{way:15} {json.dumps(found)}", flush=True)


def end_in_time(bench: Bench, seconds: float) -> None:
    """End the process, with what is known, when the time is over."""

    def end() -> None:
        time.sleep(seconds)
        bench.result["is_cut_off"] = True
        bench.write()
        print(f"time is over after {seconds:.0f} s: {json.dumps(bench.result)}", flush=True)
        os._exit(0)

    threading.Thread(target=end, daemon=True).start()


def build(options: argparse.Namespace) -> Bench:
    on_gpu = options.device == "cuda"
    batch_size = options.batch_size or (2048 if on_gpu else 16)
    num_prompts = options.num_prompts or (2 * batch_size if on_gpu else 32)
    common: dict[str, Any] = {"output": options.output, "small_batch": 64 if on_gpu else 8}
    if not options.model:
        model, prompts = random_model(options.device), random_prompts(num_prompts, options.device)
        return Bench(model, Letters(), prompts, Decoding(stops=(), batch_size=batch_size), **common)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = torch.bfloat16 if on_gpu else torch.float32
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype).to(options.device).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    own = model.generation_config.eos_token_id
    ends = tuple(own) if isinstance(own, list) else (own,) if own is not None else ()
    decoding = Decoding(stops=BENCHMARKS["embedded"].stops, batch_size=batch_size, stop_token_ids=ends)
    return Bench(model, tokenizer, code_prompts(num_prompts, tokenizer, options.max_new_tokens), decoding, **common)


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a Hub folder; default: random weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=sorted(SIZES))
    parser.add_argument("--num-prompts", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=0, help="of graphs; default 2048 on a GPU")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--seconds", type=float, default=85.0, help="for everything")
    parser.add_argument("--output", type=Path, help="JSON, written again after each way")
    parser.add_argument("--cudnn", action="store_true", help="with cuDNN's attention")
    options = parser.parse_args()
    begin = time.perf_counter()
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.backends.cuda.enable_cudnn_sdp(options.cudnn)
    bench = build(options)
    end_in_time(bench, options.seconds)
    device = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    parameters = sum(parameter.numel() for parameter in bench.model.parameters())
    bench.result |= {"device": device, "model": str(options.model or "random"), "parameters": parameters,
                     "torch": torch.__version__, "prompts": len(bench.prompts),
                     "batch_size": bench.decoding.batch_size, "static_batch_size": bench.small_batch}  # fmt: skip
    print(f"{json.dumps(bench.result)} loaded in {time.perf_counter() - begin:.1f} s", flush=True)
    base: dict[str, Texts] = {}
    for way in options.ways:
        measure(bench, way, SHARES[way] * options.seconds, base)
        if isinstance(bench.result[way], dict) and isinstance(bench.result.get("static_loop"), dict):
            static = bench.result["static_loop"]["tokens_per_second"]
            bench.result["ratio_to_static_loop"] = {
                name: round(found["tokens_per_second"] / static, 2)
                for name in WAYS
                if isinstance(found := bench.result.get(name), dict)
            }
        bench.write()
    print(json.dumps(bench.result), flush=True)
    os._exit(0)  # continuous batching may leave threads behind


if __name__ == "__main__":
    main()
