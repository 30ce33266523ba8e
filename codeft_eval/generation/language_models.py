"""Language models with lm-eval's interface: a checkpoint with a store of its answers, and a replay of completions.

Importing this loads lm-eval. Requests are ``Instance`` objects whose ``doc`` is an item and whose ``idx`` is the number
of the sample.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from codeft_assets.base.answers import AnswerStore
from codeft_eval.generation.checkpoints import MAX_LIKELIHOOD_TOKENS, GenerationSettings
from codeft_eval.generation.decoding import IsWaiting, Key, Prompt
from codeft_eval.generation.engines import ENGINES

MINIMUM_NEW_TOKENS = 16
"""A prompt that leaves less room in the context is not scored: its completion could only be cut off."""
PROMPT_TOO_LONG = "\x00prompt_too_long"
"""The answer to such a prompt."""
ANSWERS_VERSION = "2"
"""Counts up when a model's answer to the same request changes, so that stored ones are computed again; a test compares
it with the code that computes them."""
COMPLETION, LOG_LIKELIHOOD = "completion", "log_likelihood"
"""Kinds of answers in the store."""
Answers = Iterator[Mapping[Key, Any]]
"""Answers as they come."""


@dataclass(frozen=True, slots=True)
class EvalHooks:
    """Callbacks of a run, and the timing of its phases."""

    on_progress: Callable[[str, int, int], None]
    """(kind of answer, number answered, number in all)."""
    on_completion: Callable[[str, str], None]
    """(task id, completion), as soon as it is there."""
    phase: Callable[[str], AbstractContextManager[None]]
    """The phase of the run that the block belongs to."""


class CachingLM(LM):
    """A checkpoint with its answers in a store: each request reaches the model once, in batches of similar length."""

    def __init__(self, model: Any, store: AnswerStore, settings: GenerationSettings, hooks: EvalHooks) -> None:
        """Wrap ``model``, an ``HFLM``; ``store`` is open and of this model, benchmark and settings alone."""
        super().__init__()
        self._model, self._store, self._settings, self._hooks = model, store, settings, hooks

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Return completions; the benchmark's stops and token limit are in the settings."""
        with self._hooks.phase("generation"):
            return self._answer(COMPLETION, requests, self._complete, self._hooks.on_completion)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Return log-likelihoods and whether the continuation is greedy; NaN where both texts exceed the context."""
        with self._hooks.phase("likelihood"):
            found = self._answer(LOG_LIKELIHOOD, requests, self._log_likelihoods, lambda task_id, value: None)
        return [(math.nan, False) if answer is None else (answer[0], bool(answer[1])) for answer in found]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Refuse: no benchmark needs them."""
        raise NotImplementedError("no benchmark needs rolling likelihoods")

    def _answer(
        self,
        kind: str,
        requests: Sequence[Instance],
        compute: Callable[[Sequence[Instance], IsWaiting], Answers],
        on_answer: Callable[[str, Any], None],
    ) -> list[Any]:
        """Return an answer for each request: from the store, or else computed and stored as it comes."""
        ordered = self._longest_first(requests)
        known = {_decode_key(key): json.loads(value) for key, value in self._store.all(kind)}
        for request in ordered:
            if _key(request) in known:
                on_answer(_item(request).task_id, known[_key(request)])
        num_done = sum(_key(request) in known for request in ordered)
        for answers in compute(ordered, lambda key: key not in known):
            self._store.put(kind, [(_encode_key(key), json.dumps(answer)) for key, answer in answers.items()])
            known.update(answers)
            num_done += len(answers)
            for (task_id, _), answer in answers.items():
                on_answer(task_id, answer)
            self._hooks.on_progress(kind, num_done, len(ordered))
        return [known[_key(request)] for request in requests]

    def _longest_first(self, requests: Sequence[Instance]) -> list[Instance]:
        """Return requests with the longest prompts first, ties by task id: the same order in every run."""
        lengths = [self._num_tokens(request.args[0]) for request in requests]
        order = sorted(zip(lengths, requests, strict=True), key=lambda pair: (-pair[0], *_key(pair[1])))
        return [request for _, request in order]

    def _num_tokens(self, text: str) -> int:
        return len(self._encode(text))

    def _encode(self, text: str) -> list[int]:
        return self._model.tok_encode(text, add_special_tokens=self._settings.add_special_tokens)

    def _complete(self, requests: Sequence[Instance], is_waiting: IsWaiting) -> Answers:
        """Yield completions; the token limit shrinks to the rest of the context, and no prompt is truncated.

        Where nothing could grade it, no completion is made: it is empty.
        """
        prompts = [self._prompt(request) for request in requests]
        most_tokens = self._model.max_length - MINIMUM_NEW_TOKENS
        known = {_key(request): "" for request in requests if not _item(request).is_gradable}
        known |= {prompt.key: PROMPT_TOO_LONG for prompt in prompts if len(prompt.tokens) > most_tokens}
        waiting = {key: text for key, text in known.items() if is_waiting(key)}
        if waiting:
            yield waiting
        fitting = [prompt for prompt in prompts if prompt.key not in known]
        generate = ENGINES[self._settings.engine]
        decoding = self._settings.decoding()
        for found in generate(self._model.model, self._model.tokenizer, fitting, decoding, is_waiting):
            yield {prompt.key: text for prompt, text in found.items()}

    def _prompt(self, request: Instance) -> Prompt:
        tokens = tuple(self._encode(request.args[0]))
        limit = min(self._settings.max_new_tokens, self._model.max_length - len(tokens))
        task_id, sample = _key(request)
        return Prompt(task_id=task_id, sample=sample, tokens=tokens, max_new_tokens=limit)

    def _log_likelihoods(self, requests: Sequence[Instance], is_waiting: IsWaiting) -> Answers:
        """Yield pairs, log-likelihood and is-greedy; None where prompt and continuation exceed the context."""
        lengths = [self._num_tokens("".join(request.args)) for request in requests]
        pairs = list(zip(requests, lengths, strict=True))
        too_long = {
            _key(request): None
            for request, length in pairs
            if length > self._model.max_length and is_waiting(_key(request))
        }
        if too_long:
            yield too_long
        fitting = [(request, length) for request, length in pairs if length <= self._model.max_length]
        for chunk in _batches(fitting, self._settings.likelihood_batch_size, MAX_LIKELIHOOD_TOKENS):
            batch = [request for request in chunk if is_waiting(_key(request))]
            found = self._model.loglikelihood(batch, disable_tqdm=True) if batch else []
            yield {
                _key(request): [float(value) for value in values] for request, values in zip(batch, found, strict=True)
            }


class ReplayLM(LM):
    """Stored completions, task id -> one for each sample."""

    def __init__(self, completions: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self._completions = completions

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Return the stored completions."""
        return [self._completions[task_id][sample] for task_id, sample in map(_key, requests)]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Return NaN: stored completions have no likelihoods."""
        return [(math.nan, False) for _ in requests]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Return NaN: stored completions have no likelihoods."""
        return [math.nan for _ in requests]


def _batches(requests: Sequence[tuple[Instance, int]], max_rows: int, max_tokens: int) -> Iterator[Sequence[Instance]]:
    """Yield requests, given with their tokens, in batches whose padded rows have at most ``max_tokens``, or one row."""
    batch: list[Instance] = []
    longest = 0
    for request, length in requests:
        longest = max(longest, length)
        if batch and (len(batch) == max_rows or (len(batch) + 1) * longest > max_tokens):
            yield batch
            batch, longest = [], length
        batch.append(request)
    if batch:
        yield batch


def _item(request: Instance) -> Any:
    return request.doc


def _key(request: Instance) -> Key:
    return _item(request).task_id, request.idx


def _encode_key(key: Key) -> str:
    return json.dumps(key)


def _decode_key(text: bytes | str) -> Key:
    task_id, sample = json.loads(text)
    return task_id, sample
