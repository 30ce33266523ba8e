"""A prompt of a user, solved by a checkpoint with a strategy. Importing this loads lm-eval."""

from __future__ import annotations

import ast
import tempfile
from dataclasses import dataclass
from pathlib import Path

from codeft_eval.benchmarks.benchmark import Item
from codeft_eval.benchmarks.humaneval import HUMANEVAL, humaneval_item
from codeft_eval.generation.prompts import load_tokenizer
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.scoring.checkpoint_writer import open_writer
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.prompting import prompt_items
from codeft_eval.scoring.strategy_runs import LIMITS
from codeft_eval.strategies.attempts import Answer, Problem, Workbench
from codeft_eval.strategies.examples import find_examples, parse_prompt
from codeft_eval.strategies.table import find_strategy


@dataclass(frozen=True, slots=True)
class Solution:
    """The program that solves a prompt, or the first attempt where no strategy could choose."""

    program: str
    answer: Answer
    summary: str
    """How it was chosen, and what it cost, for a person."""


def solve_prompt(checkpoint: Path, text: str, strategy: str, options: Options) -> Solution:
    """Return the solution of a Python prompt that ends with a function's signature and docstring.

    Attempts are the greedy completion and, where the strategy draws samples, ``options.num_samples`` others.

    Raises:
        ValueError: the prompt has no function, or checkpoint, strategy or options are unusable.
        SandboxError: no isolation works here.
    """
    chosen = find_strategy(strategy)
    item, protocol = prompt_item(text), HUMANEVAL.own_protocol
    (asked,), _ = prompt_items([item], protocol, load_tokenizer(checkpoint))
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox(limits=LIMITS, level=options.tier, allow_unsafe=options.allow_unsafe) as sandbox,
    ):
        writer = open_writer(checkpoint, protocol, options, Path(folder))
        attempts = writer.complete([asked])
        if chosen.draws_samples:
            attempts += writer.draw([asked], options.num_samples, temperature=options.temperature)[0]
        (answer,) = chosen.choose([Problem(asked, tuple(attempts))], Workbench(sandbox.run, writer))
    num_examples = len(find_examples(asked.source_prefix, asked.entry_point))
    outcome = f"{answer.fallback}; this is the first attempt" if answer.fallback else chosen.words
    summary = (
        f"{strategy}: {outcome}; attempts drawn: {len(attempts)}, {num_examples} examples, {answer.num_tokens} tokens"
    )
    return Solution(asked.to_program(answer.text).source, answer, summary)


def prompt_item(text: str) -> Item:
    """Return a prompt as an item without tests; its entry point is the last function that it defines.

    Raises:
        ValueError: it is no Python, or defines no function.
    """
    tree = parse_prompt(text.strip() + "\n")
    found = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] if tree else []
    if not found:
        state = "defines no function" if tree else "is no Python"
        raise ValueError(f"the prompt {state}; end it with a function's signature and, best, a docstring with examples")
    row = {"task_id": "prompt", "prompt": text, "canonical_solution": "", "entry_point": found[-1]}
    return humaneval_item(row, "")
