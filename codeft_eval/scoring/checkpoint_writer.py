"""A checkpoint as the writer of a strategy: attempts at items, later attempts, and likelihoods of comparisons.

Answers are kept in a store beside the results, so a strategy that was stopped goes on from them. Importing this loads
lm-eval.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance

from codeft_assets.base.answers import AnswerStore
from codeft_eval.benchmarks.benchmark import Item, Protocol
from codeft_eval.generation.checkpoints import GenerationSettings, checkpoint_hash, load_language_model
from codeft_eval.generation.language_models import ANSWERS_VERSION, PROMPT_TOO_LONG, CachingLM, EvalHooks
from codeft_eval.generation.prompts import load_tokenizer
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.runs import choose_settings
from codeft_eval.strategies.attempts import Attempt

_WITHHELD = "withheld"
"""A model answers only what somebody could grade; the true answer is not here."""


class CheckpointWriter:
    """A checkpoint that is loaded once and answers greedily, or with samples."""

    def __init__(self, model: Any, tokenizer: Any, settings: GenerationSettings, folder: Path, model_hash: str) -> None:
        """Wrap ``model``, an ``HFLM``; stores go to ``folder``, named by model and settings."""
        self._model, self._tokenizer, self._settings = model, tokenizer, settings
        self._folder, self._model_hash = folder, model_hash

    def complete(self, items: Sequence[Item]) -> list[Attempt]:
        """Return the greedy completion of each item's prompt."""
        return [attempts[0] for attempts in self.draw(items, 1, temperature=0.0)]

    def draw(self, items: Sequence[Item], num_samples: int, *, temperature: float) -> list[list[Attempt]]:
        """Return completions of each item; of a prompt that leaves no room, empty ones."""
        settings = replace(self._settings, num_samples=num_samples, temperature=temperature)
        requests = [
            Instance("generate_until", _asked(item), (item.prompt, {}), number)
            for item in items
            for number in range(num_samples)
        ]
        with self._language_model(settings) as model:
            found = iter(model.generate_until(requests))
        return [[self._attempt(item.prompt, next(found)) for _ in range(num_samples)] for item in items]

    def log_likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return the log-likelihood of each continuation; NaN where both texts exceed the context."""
        requests = [
            Instance("loglikelihood", _asked(_text_item(text, continuation)), (text, continuation), 0)
            for text, continuation in pairs
        ]
        with self._language_model(self._settings) as model:
            return [value for value, _ in model.loglikelihood(requests)]

    def num_tokens(self, text: str) -> int:
        """Return the tokens of a text, without special ones."""
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _attempt(self, prompt: str, text: str) -> Attempt:
        written = "" if text == PROMPT_TOO_LONG else text
        return Attempt(written, self.num_tokens(prompt) + self.num_tokens(written))

    @contextmanager
    def _language_model(self, settings: GenerationSettings) -> Iterator[CachingLM]:
        facts = json.dumps([ANSWERS_VERSION, self._model_hash, settings.plain()], sort_keys=True)
        name = f"strategies-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.sqlite"
        with AnswerStore(self._folder / name) as store:
            yield CachingLM(self._model, store, settings, _SILENT)


_SILENT = EvalHooks(
    on_progress=lambda kind, num_done, num_total: None,
    on_completion=lambda task_id, completion: None,
    phase=lambda name: nullcontext(),
)


def open_writer(checkpoint: Path, protocol: Protocol, options: Options, folder: Path) -> CheckpointWriter:
    """Return the writer of a checkpoint folder, greedy unless it is asked for samples.

    Raises:
        ValueError: the folder is no checkpoint.
    """
    model_hash, tokenizer = checkpoint_hash(checkpoint), load_tokenizer(checkpoint)
    settings = choose_settings(checkpoint, tokenizer, protocol, replace(options, num_samples=1, temperature=0.0))
    return CheckpointWriter(load_language_model(checkpoint, settings), tokenizer, settings, folder, model_hash)


def token_counter(folder: Path) -> Callable[[str], int]:
    """Return the function that counts a text's tokens by the tokenizer in a folder."""
    tokenizer = load_tokenizer(folder)
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _asked(item: Item) -> Any:
    """Return the item as a request's document: its name holds its prompt, by which a store finds the answer."""
    digest = hashlib.sha256(item.prompt.encode()).hexdigest()[:16]
    return replace(item, task_id=f"{item.task_id} {digest}", answer=_WITHHELD)


def _text_item(text: str, continuation: str) -> Item:
    return Item(task_id=f"likelihood of {continuation}", prompt=text, solution="")
