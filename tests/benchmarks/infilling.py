"""Lines that are filled from both sides: diffusion beside left-to-right with FIM, both from one checkpoint.

    python tests/benchmarks/infilling.py --base FOLDER --corpus FOLDER --steps 600 --output F.json

The checkpoint is trained on twice with the same documents, batch, rate and number of tokens: by the ordinary objective
with every other document reordered for filling gaps (FIM), and by diffusion. Each then fills one missing line of
held-out Python: left-to-right up to a line break, or as many tokens as the line has (``length given``); diffusion in
several numbers of passes with the length given, and with the length that it finds likeliest itself. FIM is asked in
both orders that it is trained in: prefix first, and suffix first, where the prefix stands right before the gap. A line
counts where its text is that of the document but for spaces at its end. Intervals are Wilson's, differences paired by
line and clustered by document. ``--fim`` measures a checkpoint that was trained before, suffix first alone, and
``--every`` only some of the gaps.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from codeft_assets.base.files import write_atomically
from codeft_eval.statistics.comparison import paired
from codeft_eval.statistics.intervals import proportion
from codeft_training.data.corpus import Corpus
from codeft_training.data.tokenizer import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX

MAX_LINE, MOST_A_DOCUMENT, MIN_CHARACTERS = 32, 4, 8
LEFT_TO_RIGHT, FIM, DIFFUSION = "left to right, no suffix", "FIM", "diffusion"
PREFIX_FIRST, SUFFIX_FIRST, END = "FIM, prefix first", "FIM, suffix first", "<|endoftext|>"


@dataclass(frozen=True)
class Gap:
    """A line to fill, as ids of the checkpoint's tokenizer."""

    key: str
    source: str
    prefix: list[int]
    line: list[int]
    suffix: list[int]
    text: str


def find_gaps(corpus, tokenizer, *, number, context):
    """Return at most ``number`` lines of each source's held-out Python, the same ones for the same corpus."""
    found = {}
    for document in sorted(Corpus(corpus).documents("validation"), key=lambda row: row["document_id"]):
        if document["language"] != "python" or document["messages"]:
            continue
        own = found.setdefault(document["source"], [])
        if len(own) < number:
            own += _gaps_of(document, tokenizer, context)[: number - len(own)]
    return [gap for own in found.values() for gap in own]


def _gaps_of(document, tokenizer, context):
    lines = document["text"].splitlines(keepends=True)
    places = [
        n
        for n in range(1, len(lines) - 1)
        # whole tokens begin and end where no blank line is near
        if all(line.strip() for line in lines[n - 1 : n + 2])
        and len(lines[n].strip()) >= MIN_CHARACTERS
        and lines[n].rstrip() == lines[n].rstrip("\n")
    ]
    chosen = sorted(random.Random(document["document_id"]).sample(places, min(MOST_A_DOCUMENT, len(places))))
    gaps = []
    for n in chosen:
        encode = lambda part: tokenizer("".join(part), add_special_tokens=False)["input_ids"]  # noqa: E731
        line, room = encode(lines[n]), context - MAX_LINE - 4
        prefix, suffix = encode(lines[max(n - 60, 0) : n])[-room * 3 // 4 :], encode(lines[n + 1 : n + 40])
        if len(line) <= MAX_LINE:
            rest = suffix[: room - len(prefix)]
            gaps.append(
                Gap(f"{document['document_id']}/{n}", document["source"], prefix, line, rest, lines[n].rstrip())
            )
    return gaps


class Filler:
    """A checkpoint on a device, which fills gaps in batches."""

    def __init__(self, checkpoint, batch):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self.model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype).eval().to(self.device)
        self.mask_id, self.batch = self.tokenizer.convert_tokens_to_ids("<|fim_pad|>"), batch
        tokens = enumerate(self.tokenizer.batch_decode([[n] for n in range(len(self.tokenizer))]))
        self.line_ends = [n for n, text in tokens if "\n" in text or text == END]

    def write(self, prompts):
        """Return the tokens that are written greedily after each prompt, as long as a line may be."""
        import torch

        written = []
        for first in range(0, len(prompts), self.batch):
            part = prompts[first : first + self.batch]
            width = max(map(len, part))
            ids = torch.tensor([[self.mask_id] * (width - len(row)) + row for row in part], device=self.device)
            seen = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in part], device=self.device)
            settings = {"max_new_tokens": MAX_LINE, "do_sample": False, "pad_token_id": self.mask_id}
            settings["eos_token_id"] = self.line_ends
            with torch.no_grad():
                written += self.model.generate(input_ids=ids, attention_mask=seen, **settings)[:, width:].tolist()
            print(f"written {len(written)} of {len(prompts)}", flush=True)
        return written

    def fill(self, gaps, lengths, num_steps):
        """Return text and mean log-likelihood of each gap filled with so many tokens."""
        import torch

        from codeft_training.model.diffusion import fill

        found = []
        for first in range(0, len(gaps), self.batch):
            part = list(zip(gaps[first : first + self.batch], lengths[first : first + self.batch], strict=True))
            rows = [[*gap.prefix, *[self.mask_id] * length, *gap.suffix] for gap, length in part]
            sizes, width = torch.tensor([len(row) for row in rows]), max(map(len, rows))
            ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
            filled, likelihood = fill(self.model, ids, self.mask_id, num_steps=num_steps, lengths=sizes)
            spans = [slice(len(gap.prefix), len(gap.prefix) + length) for gap, length in part]
            texts = [self.tokenizer.decode(row[span]) for row, span in zip(filled, spans, strict=True)]
            found += zip(texts, likelihood.tolist(), strict=True)
        return found

    def text(self, ids, length=MAX_LINE):
        """Return what was written up to an end of text."""
        return self.tokenizer.decode(ids[:length]).split(END)[0]


def is_right(text, gap):
    return text.rstrip() == gap.text


def own_lengths(filler, gaps, num_steps):
    """Return each gap's text of the likeliest length: one line with its break at the end."""
    tries = [(gap, length) for gap in gaps for length in range(1, MAX_LINE + 1)]
    found = filler.fill([gap for gap, _ in tries], [length for _, length in tries], num_steps)
    best = {}
    for (gap, _), (text, likelihood) in zip(tries, found, strict=True):
        is_line = text.endswith("\n") and text.count("\n") == 1
        if is_line and likelihood > best.get(gap.key, ("", float("-inf")))[1]:
            best[gap.key] = (text, likelihood)
    return {gap.key: is_right(best.get(gap.key, ("", 0))[0], gap) for gap in gaps}


def measure(given, gaps, models):
    """Return way -> gap -> whether the line is right."""
    found = {}
    sides = [] if given.fim else [("before", given.base), ("after FIM", models[FIM])]
    for name, checkpoint in sides:
        filler = Filler(checkpoint, given.batch)
        written = filler.write([gap.prefix for gap in gaps])
        texts = [filler.text(ids).split("\n")[0] for ids in written]
        found[f"{LEFT_TO_RIGHT}, {name}"] = {
            gap.key: is_right(text, gap) for gap, text in zip(gaps, texts, strict=True)
        }
    filler = Filler(models[FIM], given.batch)
    before, after, middle = (filler.tokenizer.convert_tokens_to_ids(t) for t in (FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE))
    prompts = {
        PREFIX_FIRST: [[before, *gap.prefix, after, *gap.suffix, middle] for gap in gaps],
        SUFFIX_FIRST: [[before, after, *gap.suffix, middle, *gap.prefix] for gap in gaps],
    }
    if given.fim:
        del prompts[PREFIX_FIRST]
    for name, chosen in prompts.items():
        pairs = list(zip(gaps, filler.write(chosen), strict=True))
        found[name] = {gap.key: is_right(filler.text(ids).split("\n")[0], gap) for gap, ids in pairs}
        found[f"{name}, length given"] = {gap.key: is_right(filler.text(ids, len(gap.line)), gap) for gap, ids in pairs}
        print(name, sum(found[name].values()), flush=True)
    if DIFFUSION not in models:
        return found
    filler = Filler(models[DIFFUSION], given.batch)
    for num_steps in given.passes:
        filled = filler.fill(gaps, [len(gap.line) for gap in gaps], num_steps)
        right = {gap.key: is_right(text, gap) for gap, (text, _) in zip(gaps, filled, strict=True)}
        found[f"{DIFFUSION}, length given, {num_steps} passes"] = right
        print(num_steps, sum(right.values()), flush=True)
    some = gaps[:: max(len(gaps) // given.own_length, 1)]
    found[f"{DIFFUSION}, length of its own, 4 passes"] = own_lengths(filler, some, 4)
    return found


def command(log, *arguments):
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        line = [sys.executable, "-m", "codeft_training", *map(str, arguments)]
        if subprocess.run(line, stdout=file, stderr=subprocess.STDOUT).returncode:
            raise SystemExit(f"{' '.join(line)}\n{log.read_text()[-3000:]}")


def train(given, folder):
    """Train the checkpoint on by both objectives, at once, and return the folders of the models."""
    own = [f"base_model={given.base}", f"context_tokens={given.context}", "decay_fraction=0.95", "weight_decay=0.01"]
    own += [f"batch_rows={given.rows}", "accumulation_steps=1", f"bf16={given.bf16}", "validate_every_steps=100000"]
    shared = [f"learning_rate={given.rate}", f"max_steps={given.steps}", "save_every_steps=100000"]
    ordinary = ["--recipe", "qwen2.5-0.5b-sft", *(part for change in own + shared for part in ("--set", change))]
    tokenizer, outputs = folder / "tokenizer", {FIM: folder / "fim", DIFFUSION: folder / "diffusion"}
    command(folder / "tokenizer.log", "tokenizer", "--corpus", given.corpus, "--output", tokenizer, *ordinary)
    for rate in (0.5, 0.0):
        rows = ("--corpus", given.corpus, "--tokenizer", tokenizer, "--output", folder / f"rows-{rate}")
        command(folder / f"rows-{rate}.log", "pack", *rows, "--fim-rate", rate, *ordinary)
    adapted = [*shared, f"rows_per_step={given.rows}", f"batch_rows={given.rows}", f"bf16={given.bf16}"]
    changes = [part for change in adapted for part in ("--set", change)]
    lines = [
        (folder / "fim.log", "train", "--packed", folder / "rows-0.5", "--tokenizer", tokenizer, "--output",
         outputs[FIM], *ordinary),
        (folder / "diffusion.log", "diffuse", "--base", given.base, "--packed", folder / "rows-0.0", "--output",
         outputs[DIFFUSION], *changes),
    ]  # fmt: skip
    with ThreadPoolExecutor(2 if given.at_once else 1) as workers:
        list(workers.map(lambda line: command(*line), lines))
    return {name: output / "checkpoint" for name, output in outputs.items()}


def report_of(gaps, found):
    """Return rates with intervals, all and by source, and differences from FIM."""
    sources = {gap.key: gap.source for gap in gaps}
    rates, differences = {}, {}
    for way, right in found.items():
        rates[way] = asdict(proportion(sum(right.values()), len(right)))
        by_source = {name: [ok for key, ok in right.items() if sources[key] == name] for name in set(sources.values())}
        rates[way]["right"] = [key for key, ok in right.items() if ok]
        rates[way]["by_source"] = {name: [sum(oks), len(oks)] for name, oks in sorted(by_source.items())}
        against = f"{SUFFIX_FIRST}, length given" if "length given" in way else SUFFIX_FIRST
        if way != against:
            gap = asdict(paired(right, found[against], lambda key: key.split("/")[0]))
            kept = ("n", "difference", "detectable", "p_value")
            differences[way] = {"against": against} | {name: gap[name] for name in kept}
    return {"rates": rates, "differences": differences}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="folder of the checkpoint that both train on")
    parser.add_argument("--name", help="of the checkpoint, in the file; default: the folder's")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of a mixture with held-out documents")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rows", type=int, default=64, help="of a step")
    parser.add_argument("--context", type=int, default=512, help="tokens of a row")
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--bf16", default="false", choices=("true", "false"))
    parser.add_argument("--at-once", action="store_true", help="train both at the same time")
    parser.add_argument("--passes", type=int, nargs="+", default=[1, 2, 4, 8, 32])
    parser.add_argument("--gaps", type=int, default=150, help="of each source, at most")
    parser.add_argument("--own-length", type=int, default=200, help="gaps of which diffusion finds the length, too")
    parser.add_argument("--batch", type=int, default=64, help="gaps filled at once")
    parser.add_argument("--fim", type=Path, help="checkpoint that was trained before: measure it, train nothing")
    parser.add_argument("--every", type=int, default=1, help="measure each k-th gap")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file")
    given, start = parser.parse_args(), time.monotonic()
    from transformers import AutoTokenizer

    folder = given.output.with_suffix("")
    gaps = find_gaps(given.corpus, AutoTokenizer.from_pretrained(given.base), number=given.gaps, context=given.context)
    gaps = gaps[:: given.every]
    models = {FIM: given.fim} if given.fim else train(given, folder)
    trained = time.monotonic()
    made = {} if given.fim else models
    facts = {name: json.loads((path.parent / "result.json").read_text()) for name, path in made.items()}
    kept = ("num_tokens_seen", "num_parameters", "first_loss", "final_loss", "seconds")
    report = {
        "model": given.name or given.base.resolve().name,
        "training": {name: {key: fact[key] for key in kept} for name, fact in facts.items()},
        "rate": given.rate,
        "num_gaps": len(gaps),
        **report_of(gaps, measure(given, gaps, models)),
    }
    report["seconds"] = {"trained": round(trained - start, 1), "filled": round(time.monotonic() - trained, 1)}
    write_atomically(given.output, json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1)[:6000])
    return 0


if __name__ == "__main__":
    sys.exit(main())
