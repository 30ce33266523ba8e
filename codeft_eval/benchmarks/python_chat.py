"""The chat protocol of Python benchmarks: EvalPlus' (arXiv 2305.01210), whatever the model.

Its words stand in ``evalplus.codegen`` and ``evalplus.provider.utility`` of EvalPlus 0.3.1. The scripts beside
Qwen2.5-Coder's report (arXiv 2409.12186) ask otherwise: a system turn, "Can you complete the following Python
function?", an answer begun with the code block alone, more stops and 2,048 tokens.
"""

from __future__ import annotations

from codeft_eval.benchmarks.benchmark import CHAT, ChatTurns, Protocol

_INSTRUCTION = (
    "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
)
_ANSWER_START = (
    "Below is a Python script with a self-contained function that solves the problem and passes corresponding tests:"
)


def ask_for_script(prompt: str) -> str:
    """Return the user's turn for an item's prompt."""
    return f"{_INSTRUCTION}\n```\n{prompt.strip()}\n```\n"


PYTHON_CHAT = Protocol(
    name=CHAT,
    words="0-shot chat in the model's own template, EvalPlus' instruction, the answer begun with a Python code block, "
    "greedy; of the block, imports and what the entry point needs",
    stops=("\n```",),
    max_new_tokens=768,
    chat=ChatTurns(question=ask_for_script, answer_start=f"{_ANSWER_START}\n```python\n"),
)
