"""Items as a model is asked them: by a protocol, in the model's own template, from a prompt's end that it knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codeft_eval.benchmarks.benchmark import ALL_PROTOCOLS, REPLY, Benchmark, ChatTurns, Item, Protocol
from codeft_eval.generation.checkpoints import has_chat_template
from codeft_eval.generation.prompts import chat_prompt, joins_the_boundary
from codeft_eval.scoring.scores import AS_WRITTEN

STRIPPED = "without its last white space, which the tokenizer joins with the text after it; the model writes both"
_LIKELY_CONTINUATION = "    return"
"""Where an item has no canonical solution: an indentation shows a split that joins it with a line break."""


def prompt_items(items: Sequence[Item], protocol: Protocol, tokenizer: Any) -> tuple[list[Item], str]:
    """Return the items as the model is asked them, and how their prompts end.

    Where the tokenizer joins the last white space of most prompts with the text after it, no prompt ends in it: the
    model's completion begins with it, and the program is put together as before. One item decides nothing: a solution
    that begins with a blank line is joined by any tokenizer.

    Raises:
        ValueError: the protocol is a chat, and the tokenizer has no usable chat template.
    """
    asked = [_as_chat(item, protocol.chat, tokenizer) for item in items] if protocol.chat else list(items)
    likely = [_likely_continuation(item, protocol) for item in items]
    pairs = zip(asked, likely, strict=True)
    num_joined = sum(joins_the_boundary(tokenizer, item.prompt, text) for item, text in pairs)
    if 2 * num_joined <= len(asked):
        return asked, AS_WRITTEN
    return [without_end(item) for item in asked], STRIPPED


def protocol_outputs(benchmark: Benchmark, checkpoint: Path, name: str, output: Path) -> list[tuple[Protocol, Path]]:
    """Return the protocols to score by and the folder of each score.

    ``all`` is the benchmark's own and, in a folder ``chat``, the chat protocol where both have one: the benchmark, and
    the checkpoint a template. Any other name is one protocol, and none is the benchmark's own.
    """
    if name != ALL_PROTOCOLS:
        return [(benchmark.find_protocol(name), output)]
    found = [(benchmark.find_protocol(), output)]
    if benchmark.chat and has_chat_template(checkpoint):
        found.append((benchmark.chat, output / benchmark.chat.name))
    return found


def _as_chat(item: Item, turns: ChatTurns, tokenizer: Any) -> Item:
    """Return an item asked as a chat; its solution has no likelihood, for it does not go on from there."""
    prompt = chat_prompt(tokenizer, turns.question(item.prompt), turns.answer_start)
    return replace(item, prompt=prompt, solution="", form=REPLY)


def _likely_continuation(item: Item, protocol: Protocol) -> str:
    return "def " if protocol.chat else item.solution or _LIKELY_CONTINUATION


def without_end(item: Item) -> Item:
    """Return an item whose prompt does not end in white space, with ``STRIPPED`` as the words for it."""
    end = item.prompt[len(item.prompt.rstrip()) :]
    return replace(
        item,
        prompt=item.prompt.rstrip(),
        source_prefix=item.source_prefix.removesuffix(end),
        solution=end + item.solution if item.solution else "",
    )
