"""HumanEval by several protocols and several readings of the same completions: how far a protocol moves a score.

    python tests/benchmarks/humaneval_protocols.py --checkpoint FOLDER --output FOLDER [--limit N] [--only VARIANT ...]

The first raw and the first chat variant are the benchmark's own protocols; every other one differs in what its name
says. All completions are greedy. ``Readings`` judge the completions of one variant again, each as another program.
Prints a Markdown table and writes ``protocols.json``; each variant's completions and verdicts stay in its own folder.
HumanEval.jsonl lies in ``CODEFT_BENCHMARKS``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from codeft_assets.base import markdown
from codeft_eval.benchmarks.benchmark import CHAT, CONTINUATION, PROGRAM, RAW, REPLY, ChatTurns, Item, Protocol, Rows
from codeft_eval.benchmarks.catalogue import load_items
from codeft_eval.benchmarks.humaneval import HUMANEVAL, STOPS, humaneval_item
from codeft_eval.benchmarks.program_extraction import extract_program
from codeft_eval.benchmarks.python_chat import PYTHON_CHAT
from codeft_eval.scoring.graders import open_grader
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.runs import run_checkpoint
from codeft_eval.scoring.samples import read_samples

HUMAN_EVAL_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Of human-eval's paper, bigcode's harness and lm-eval: they cut legal code that returns to the first column."""
PLAIN_QUESTION = "Complete the following Python function.\n```python\n{}\n```"
QWEN_CHAT = (
    "<|im_start|>system\n"
    "You are an intelligent programming assistant to produce Python algorithmic solutions<|im_end|>\n"
    "<|im_start|>user\nCan you complete the following Python function?\n```python\n{}\n```\n<|im_end|>\n"
    "<|im_start|>assistant\n```python\n"
)
"""Of qwencoder-eval/instruct/eval_plus/model.py beside the report: not EvalPlus' words, and with a system turn."""
QWEN_CHAT_STOPS = ("\nif __name__", "\ndef main(", "\nprint(", "\n#", "\n```")
Variant = tuple[Callable[[dict[str, Any]], str], Protocol, dict[str, Any]]
"""A row's prompt, the protocol, and the options that differ."""


def evalplus_prompt(row: dict[str, Any]) -> str:
    return humaneval_item(row, row["test"]).prompt


def stripped_prompt(row: dict[str, Any]) -> str:
    return evalplus_prompt(row).removesuffix("\n")


def prompt_of_file(row: dict[str, Any]) -> str:
    return row["prompt"]


def qwen_chat(row: dict[str, Any]) -> str:
    """Return the chat of Qwen's scripts, template and all: the other chats are made in the checkpoint's template."""
    return QWEN_CHAT.format(row["prompt"].strip())


def raw(words: str, stops: tuple[str, ...] = STOPS, max_new_tokens: int = 768) -> Protocol:
    return Protocol(name=RAW, words=words, stops=stops, max_new_tokens=max_new_tokens)


def chat(words: str, question: Callable[[str], str], answer_start: str) -> Protocol:
    """A reply that begins its own block must not stop at the block's first line."""
    stops = PYTHON_CHAT.stops if answer_start else ()
    return Protocol(
        name=CHAT,
        words=words,
        stops=stops,
        max_new_tokens=768,
        chat=ChatTurns(question=question, answer_start=answer_start),
    )


assert PYTHON_CHAT.chat
EVALPLUS_QUESTION, EVALPLUS_START = PYTHON_CHAT.chat.question, PYTHON_CHAT.chat.answer_start
OWN_RAW = raw(HUMANEVAL.protocol)
VARIANTS: dict[str, Variant] = {
    "raw": (evalplus_prompt, OWN_RAW, {}),
    "raw, no line break at the prompt's end": (stripped_prompt, raw("stripped"), {}),
    "raw, the file's prompt": (prompt_of_file, raw("file"), {}),
    "raw, human-eval's stops": (evalplus_prompt, raw("human-eval's stops", HUMAN_EVAL_STOPS), {}),
    "raw, the file's prompt, human-eval's stops": (prompt_of_file, raw("both", HUMAN_EVAL_STOPS), {}),
    "raw, 256 tokens": (evalplus_prompt, raw("256", max_new_tokens=256), {}),
    "raw, float32": (evalplus_prompt, OWN_RAW, {"dtype": "float32"}),
    "raw, transformers in batches of 16": (evalplus_prompt, OWN_RAW, {"engine": "batches", "batch_size": 16}),
    "chat": (evalplus_prompt, PYTHON_CHAT, {}),
    "chat, no answer prefix": (evalplus_prompt, chat("no prefix", EVALPLUS_QUESTION, ""), {}),
    "chat, the block alone as prefix": (evalplus_prompt, chat("block", EVALPLUS_QUESTION, "```python\n"), {}),
    "chat, plain words, no answer prefix": (evalplus_prompt, chat("plain", PLAIN_QUESTION.format, ""), {}),
    "chat, plain words, the block as prefix": (
        evalplus_prompt,
        chat("plain, block", PLAIN_QUESTION.format, "```python\n"),
        {},
    ),
    "chat, Qwen's words": (qwen_chat, raw("Qwen's chat", QWEN_CHAT_STOPS, 1024), {}),
    "chat, Qwen's words and EvalPlus' stop": (qwen_chat, raw("Qwen's chat, to the block's end", ("\n```",), 1024), {}),
    "chat, float32": (evalplus_prompt, PYTHON_CHAT, {"dtype": "float32"}),
    "chat, transformers in batches of 16": (evalplus_prompt, PYTHON_CHAT, {"engine": "batches", "batch_size": 16}),
}


def read_as(prompt_of: Callable[[dict[str, Any]], str], rows: Rows, shots: Rows) -> list[Item]:
    """Return HumanEval's items with the prompt of a variant, which is also how their programs begin."""
    items = [(humaneval_item(row, row["test"]), prompt_of(dict(row))) for row in rows]
    form = REPLY if prompt_of is qwen_chat else CONTINUATION
    return [replace(item, prompt=prompt, source_prefix=prompt, form=form) for item, prompt in items]


def code_block(reply: str) -> str:
    """Return the reply's first code block, all of it; a reply may begin inside of one."""
    before, fence, after = reply.partition("```")
    inside = (
        after.partition("\n")[2] if fence and not before.strip().startswith(("def ", "from ", "import ")) else before
    )
    return inside.partition("\n```")[0]


READINGS: dict[str, Callable[[Item, str], str]] = {
    "imports and what the entry point needs": lambda item, reply: extract_program(reply, item.entry_point),
    "all of the first block": lambda item, reply: code_block(reply),
    "the prompt, then all of the first block": lambda item, reply: f"{item.prompt}    pass\n\n{code_block(reply)}",
    "the prompt's imports, then all of the first block": lambda item, reply: (
        item.prompt.partition("def ")[0] + code_block(reply)
    ),
}


def judge(items: Sequence[Item], programs: Sequence[str]) -> list[str]:
    asked = [replace(item, form=PROGRAM) for item in items]
    with open_grader(HUMANEVAL) as grader:
        return [grade.verdict for grade in grader.grade(asked, programs)]


def measure(checkpoint: Path, folder: Path, variant: Variant, limit: int | None) -> dict[str, list[str]]:
    """Return reading -> the verdicts on a variant's completions, item by item."""
    prompt_of, protocol, changes = variant
    benchmark = replace(HUMANEVAL, read=partial(read_as, prompt_of))
    run_checkpoint(checkpoint, benchmark, folder, Options(limit=limit, **changes), protocol)
    samples = list(read_samples(folder))
    found = {"as run": [sample["verdict"] for sample in samples]}
    if protocol.chat or prompt_of is qwen_chat:
        items = load_items(HUMANEVAL)[:limit]
        texts = [sample["completion"] for sample in samples]
        for name, reading in READINGS.items():
            found[name] = judge(items, [reading(item, text) for item, text in zip(items, texts, strict=True)])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    options = parser.parse_args()
    verdicts: dict[str, dict[str, list[str]]] = {}
    for number, name in enumerate(VARIANTS):
        if name in options.only:
            folder = options.output / f"{number:02d}"
            verdicts[name] = measure(options.checkpoint, folder, VARIANTS[name], options.limit)
            (options.output / "protocols.json").write_text(json.dumps(verdicts, indent=1) + "\n")
    print(markdown.table(("protocol", "reading", "passed", "gained", "lost"), list(_rows(verdicts))))
    return 0


def _rows(verdicts: dict[str, dict[str, list[str]]]) -> Any:
    """Yield counts, with the items gained and lost against the first variant of the same kind, as run."""
    for name, readings in verdicts.items():
        own = verdicts.get(name.partition(",")[0], {}).get("as run", [])
        for reading, found in readings.items():
            pairs = list(zip(own, found, strict=False))
            gained = sum(new == "passed" != old for old, new in pairs)
            lost = sum(old == "passed" != new for old, new in pairs)
            yield (name, reading, found.count("passed"), gained, lost)


if __name__ == "__main__":
    sys.exit(main())
