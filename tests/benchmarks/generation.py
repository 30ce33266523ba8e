"""Tokens a second of a static-batch loop and of our engines (batches, graphs, continuous), in one process.

    python tests/benchmarks/generation.py [--device cuda] [--num-prompts N] [--batch-size N] [--ways NAME ...] [--json]

Random weights need no checkpoint: on a GPU a Llama of 0.35B in bfloat16, on a CPU a tiny one in float32. Completions of
a random model do not end by themselves, so each prompt gets a limit of its own, drawn once, as real completions end at
different lengths. A token counts when it is part of a completion. The static loop takes the prompts in the order of the
file and lets a batch run until its longest completion ends; batches are ours: sorted, and a batch ends with its rows;
graphs are those, a step recorded once a batch. `--cudnn` leaves cuDNN's attention on, as it is by default: what it says
differs from run to run.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from codeft_eval.generation.decoding import Decoding, Prompt
from codeft_eval.generation.engines import continuously, in_batches, in_graphs

VOCABULARY = 8192
SIZES = {"cuda": (1024, 24, 16, "bfloat16"), "cpu": (128, 2, 4, "float32")}
LONGEST = {"cuda": 512, "cpu": 48}


class Letters:
    """Enough of a tokenizer: a token is a character."""

    pad_token_id, eos_token_id = 0, VOCABULARY - 1

    def decode(self, tokens: list[int], **_: object) -> str:
        return "".join(chr(0x4E00 + token) for token in tokens)

    def batch_decode(self, rows: list[list[int]]) -> list[str]:
        return [self.decode(row) for row in rows]


def build_model(device: str):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    width, num_layers, num_heads, dtype = SIZES[device]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=num_layers,
        num_attention_heads=num_heads, num_key_value_heads=num_heads, max_position_embeddings=2048, pad_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(device=device, dtype=getattr(torch, dtype)).eval()


def prompts_for(num_prompts: int, device: str) -> list[Prompt]:
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


def static_loop(model, prompts: list[Prompt], decoding: Decoding) -> dict[Prompt, str]:
    """The plain baseline: batches in file order, each as long as the benchmark's limit."""
    import torch

    found = {}
    limit = max(prompt.max_new_tokens for prompt in prompts)
    for start in range(0, len(prompts), decoding.batch_size):
        batch = prompts[start : start + decoding.batch_size]
        width = max(len(prompt.tokens) for prompt in batch)
        rows = torch.tensor([[0] * (width - len(p.tokens)) + list(p.tokens) for p in batch], device=model.device)
        with torch.inference_mode():
            written = model.generate(rows, attention_mask=(rows != 0).long(), do_sample=False, max_new_tokens=limit,
                                     pad_token_id=0, eos_token_id=VOCABULARY - 1)  # fmt: skip
        for prompt, row in zip(batch, written[:, width:].tolist(), strict=True):
            found[prompt] = Letters().decode(row[: prompt.max_new_tokens])
    return found


def collect(generate: Callable, model, prompts: list[Prompt], decoding: Decoding) -> dict[Prompt, str]:
    ordered = sorted(prompts, key=lambda prompt: (-len(prompt.tokens), prompt.task_id))
    found = {}
    for part in generate(model, Letters(), ordered, decoding, lambda _key: True):
        found |= part
    return found


def measure(run: Callable[[], dict[Prompt, str]]) -> tuple[float, dict[Prompt, str]]:
    begin = time.perf_counter()
    found = run()
    return sum(map(len, found.values())) / (time.perf_counter() - begin), found


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=sorted(SIZES))
    parser.add_argument("--num-prompts", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=0)
    parser.add_argument("--ways", nargs="+", default=["batches", "graphs", "continuous"])
    parser.add_argument("--repeat", nargs="*", default=["batches", "graphs"], help="ways to run twice")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--cudnn", action="store_true", help="with cuDNN's attention")
    options = parser.parse_args()
    torch.backends.cuda.enable_cudnn_sdp(options.cudnn)
    on_gpu = options.device == "cuda"
    batch_size = options.batch_size or (64 if on_gpu else 8)
    prompts = prompts_for(options.num_prompts or (128 if on_gpu else 32), options.device)
    model, decoding = build_model(options.device), Decoding(stops=(), batch_size=batch_size)
    ways = {
        "static_loop": lambda: static_loop(model, prompts, decoding),
        "batches": lambda: collect(in_batches, model, prompts, decoding),
        "graphs": lambda: collect(in_graphs, model, prompts, decoding),
        "continuous": lambda: collect(continuously, model, prompts, decoding),
    }
    print(f"{torch.cuda.get_device_name() if on_gpu else 'CPU'}: {len(prompts)} prompts, batches of {batch_size}")
    for engine in (in_batches, in_graphs):  # warm
        collect(engine, model, [replace(prompt, max_new_tokens=4) for prompt in prompts[:batch_size]], decoding)
    result: dict[str, float] = {}
    base: dict[Prompt, str] = {}
    for name in ("static_loop", *options.ways):
        rate, texts = measure(ways[name])
        base = base or texts
        static = rate if name == "static_loop" else result["static_loop_tokens_per_second"]
        same = sum(text == base.get(prompt) for prompt, text in texts.items()) / len(prompts)
        result |= {f"{name}_tokens_per_second": rate, f"{name}_same_as_static": same}
        print(f"{name:12} {rate:9.0f} tokens/s  {rate / static:.2f}x  same {same:.0%}", flush=True)
        if name in options.repeat:
            _, again = measure(ways[name])
            result[f"{name}_repeats"] = sum(again[prompt] == text for prompt, text in texts.items()) / len(prompts)
            print(f"{name} gives {result[f'{name}_repeats']:.0%} of its texts again in a second run", flush=True)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
