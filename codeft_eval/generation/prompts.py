"""A tokenizer's say in a prompt: its chat template, the token boundary at the prompt's end, and the ends of a turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_SPLITTER = "-[[]]-here-the-model-goes-on-[[]]-"
"""Marks the end of what the assistant's turn begins with: a template may put anything around it."""
_TEMPLATE_DATE = "26 Jul 2024"
"""What Llama's template writes without a clock: with one, the prompt would be another one every day."""


def load_tokenizer(checkpoint: Path) -> Any:
    """Return a checkpoint's tokenizer, loaded without any network."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)


def chat_prompt(tokenizer: Any, question: str, answer_start: str) -> str:
    """Return a chat in the model's own template, up to where the model goes on with the assistant's turn.

    Raises:
        ValueError: the tokenizer has no template, or its template leaves out the turns.
    """
    if not tokenizer.chat_template:
        raise ValueError(
            "protocol 'chat': the checkpoint's tokenizer has no chat template; use the benchmark's own protocol, or "
            "add chat_template.jinja to the checkpoint"
        )
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer_start + _SPLITTER}]
    before, mark, _ = _render(tokenizer, turns).partition(_SPLITTER)
    if not mark or question.strip() not in before:
        raise ValueError(
            "protocol 'chat': the checkpoint's chat template leaves out the user's or the assistant's turn; correct "
            "the template"
        )
    return before


def _render(tokenizer: Any, turns: Sequence[dict[str, str]]) -> str:
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(turns, tokenize=False, date_string=_TEMPLATE_DATE)
    except TemplateError as error:
        raise ValueError(
            f"the checkpoint's chat template refuses a turn of the user and one of the assistant: {error}; correct the "
            "template"
        ) from error


def joins_the_boundary(tokenizer: Any, prompt: str, continuation: str) -> bool:
    """Return whether a token begins in a prompt's white space at the end and reaches into ``continuation``.

    Such a token is what the model has seen there in training; after the prompt's own tokens it cannot write it. GPT-2's
    split joins a line break with the indentation after it, Qwen's does not.
    """
    if prompt == prompt.rstrip():
        return False
    tokens = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    whole = tokenizer(prompt + continuation, add_special_tokens=False)["input_ids"]
    return whole[: len(tokens)] != tokens


def stop_token_ids(checkpoint: Path, tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that end a text of the model: its tokenizer's, its settings' and the end of a turn in its chat.

    Settings are those of generation (``generation_config.json``, where a model has several) and of the model.
    """
    from transformers import AutoConfig, GenerationConfig

    found = {tokenizer.eos_token_id, *_listed(AutoConfig.from_pretrained(checkpoint, local_files_only=True))}
    if (checkpoint / "generation_config.json").is_file():
        found |= _listed(GenerationConfig.from_pretrained(checkpoint, local_files_only=True))
    found |= _turn_end(tokenizer)
    return tuple(sorted(found - {None}))


def _listed(config: Any) -> set[int | None]:
    """Return the settings' ends of a text, which are one number or a list."""
    found = getattr(config, "eos_token_id", None)
    return set(found) if isinstance(found, Iterable) else {found}


def _turn_end(tokenizer: Any) -> set[int | None]:
    """Return the special token that the chat template writes after an assistant's turn; empty where there is none."""
    if not tokenizer.chat_template:
        return set()
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _SPLITTER}]
    after = _render(tokenizer, turns).partition(_SPLITTER)[2]
    tokens: Sequence[int] = tokenizer(after, add_special_tokens=False)["input_ids"]
    return {token for token in tokens[:1] if token in _special_tokens(tokenizer)}


def _special_tokens(tokenizer: Any) -> set[int]:
    return {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
