"""Completions of many prompts, two ways: batches of similar length that stop early, and continuous batching.

A batch gives the same text in every run, whatever else is asked (float32; in bfloat16 the batch size matters and is
recorded). Sampling draws from a generator seeded with task, item and sample, so it depends on nothing else. Continuous
batching replaces a finished row at once, which keeps a GPU full; it is greedy only.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

_SETTLE_SECONDS = 1.0
_PAGE_TOKENS = 256


Key = tuple[str, int]
"""(task id, number of the sample)."""
IsWaiting = Callable[[Key], bool]
"""Whether there is no answer yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt with what its completion depends on."""

    task_id: str
    sample: int
    tokens: tuple[int, ...]
    max_new_tokens: int
    "what the model's context leaves, at most the benchmark's limit"

    @property
    def key(self) -> Key:
        """What its completion is stored under."""
        return self.task_id, self.sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How tokens are chosen and where a completion ends."""

    stops: tuple[str, ...]
    temperature: float = 0.0
    "0: the likeliest token"
    top_p: float = 1.0
    seed: int = 0
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                f"temperature {self.temperature}, top_p {self.top_p}: temperature is 0 or more and top_p in (0, 1]"
            )


def cut(text: str, stops: Sequence[str]) -> str:
    """The text before its first stop."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def seed_of(prompt: Prompt, decoding: Decoding) -> int:
    """The seed of one sample: of the task, the item and its number, and of nothing else."""
    text = f"{decoding.seed}\0{prompt.task_id}\0{prompt.sample}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def in_batches(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding, is_waiting: IsWaiting
) -> Iterator[dict[Prompt, str]]:
    """One dictionary a batch; batches are cut from all prompts, so a resumed run has the same ones."""
    import torch
    from transformers import GenerationConfig, StoppingCriteriaList

    padding = _padding(tokenizer)
    for start in range(0, len(prompts), decoding.batch_size):
        batch = [prompt for prompt in prompts[start : start + decoding.batch_size] if is_waiting(prompt.key)]
        if not batch:
            continue
        width = max(len(prompt.tokens) for prompt in batch)
        rows = [[padding] * (width - len(prompt.tokens)) + list(prompt.tokens) for prompt in batch]
        mask = [[0] * (width - len(prompt.tokens)) + [1] * len(prompt.tokens) for prompt in batch]
        ends = _Ends(tokenizer, width, batch, decoding.stops)
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=max(prompt.max_new_tokens for prompt in batch),
            pad_token_id=padding,
            eos_token_id=tokenizer.eos_token_id,
        )
        with torch.inference_mode():
            found = model.generate(
                torch.tensor(rows, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([ends]),
                logits_processor=_noise(batch, decoding),
            )
        texts = _texts(tokenizer, batch, found[:, width:].tolist(), decoding.stops)
        yield dict(zip(batch, texts, strict=True))


def continuously(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding, is_waiting: IsWaiting
) -> Iterator[dict[Prompt, str]]:
    """One dictionary a finished prompt, in the order in which they finish."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    if decoding.temperature:
        raise ValueError("continuous batching is greedy here; use the engine 'batches' for samples")
    config = GenerationConfig(do_sample=False, pad_token_id=_padding(tokenizer), eos_token_id=tokenizer.eos_token_id)
    waiting = {str(number): prompt for number, prompt in enumerate(prompts) if is_waiting(prompt.key)}
    if not waiting:
        return
    batching = ContinuousBatchingConfig(**_cache_size(list(waiting.values()), decoding.batch_size))
    options = {"generation_config": config, "continuous_batching_config": batching, "block": True, "timeout": 30}
    with model.continuous_batching_context_manager(**options) as manager:
        for name, prompt in waiting.items():
            limit = prompt.max_new_tokens
            manager.add_request(list(prompt.tokens), request_id=name, max_new_tokens=limit, streaming=True)
        while waiting:
            result = _next_result(manager, len(waiting))
            if result is None or result.request_id not in waiting or not _is_done(result, tokenizer, decoding.stops):
                continue
            if not result.is_finished():
                manager.cancel_request(result.request_id)
            prompt = waiting.pop(result.request_id)
            yield {prompt: _texts(tokenizer, [prompt], [result.generated_tokens], decoding.stops)[0]}


def _cache_size(prompts: Sequence[Prompt], batch_size: int) -> dict[str, Any]:
    """Room for as many of the longest prompts as a batch has; by default the cache would take all free memory."""
    longest = max(len(prompt.tokens) + prompt.max_new_tokens for prompt in prompts)
    num_pages = batch_size * -(-longest // _PAGE_TOKENS) + 1
    return {
        "page_size": _PAGE_TOKENS,
        "num_blocks": num_pages,
        "max_batch_tokens": max(2048, longest),
        "max_requests_per_batch": batch_size,
    }


def _next_result(manager: Any, num_waiting: int) -> Any:
    """A request's tokens so far, or None when there is nothing new yet."""
    result = manager.get_result(timeout=_SETTLE_SECONDS)
    if result is None and not manager.is_running():
        raise RuntimeError(f"continuous batching ended with {num_waiting} prompts unanswered; use the engine 'batches'")
    if result is not None and result.error:
        raise RuntimeError(f"continuous batching: {result.error}; use the engine 'batches'")
    return result


def _is_done(result: Any, tokenizer: Any, stops: Sequence[str]) -> bool:
    tail = tokenizer.decode(result.generated_tokens[-_tail_tokens(stops) :])
    return result.is_finished() or any(stop in tail for stop in stops)


def _texts(tokenizer: Any, batch: Sequence[Prompt], rows: list[list[int]], stops: Sequence[str]) -> list[str]:
    texts = []
    for prompt, row in zip(batch, rows, strict=True):
        tokens = row[: prompt.max_new_tokens]
        if tokenizer.eos_token_id in tokens:
            tokens = tokens[: tokens.index(tokenizer.eos_token_id)]
        texts.append(cut(tokenizer.decode(tokens, skip_special_tokens=True), stops))
    return texts


def _padding(tokenizer: Any) -> int:
    return next(found for found in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if found is not None)


def _tail_tokens(stops: Sequence[str]) -> int:
    """So many tokens hold the longest stop, were each of its bytes a token, and one before."""
    return max((len(stop.encode()) for stop in stops), default=0) + 2


class _Ends:
    """Which rows of a batch are done: a stop was written, or the row's own limit is reached."""

    def __init__(self, tokenizer: Any, width: int, batch: Sequence[Prompt], stops: Sequence[str]) -> None:
        self._tokenizer, self._width, self._stops = tokenizer, width, stops
        self._limits = [prompt.max_new_tokens for prompt in batch]
        self._done = [False] * len(batch)
        self._tail = _tail_tokens(stops)

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """One truth value a row."""
        import torch

        num_new = input_ids.shape[1] - self._width
        waiting = [index for index, done in enumerate(self._done) if not done]
        tails = input_ids[:, max(self._width, input_ids.shape[1] - self._tail) :].tolist()
        texts = self._tokenizer.batch_decode([tails[index] for index in waiting])
        for index, text in zip(waiting, texts, strict=True):
            self._done[index] = num_new >= self._limits[index] or any(stop in text for stop in self._stops)
        return torch.tensor(self._done, device=input_ids.device)


def _noise(batch: Sequence[Prompt], decoding: Decoding) -> Any:
    """Turns the likeliest token into a sample: with Gumbel noise added, the maximum is a draw (Gumbel-max)."""
    import torch
    from transformers import LogitsProcessorList, TopPLogitsWarper

    if not decoding.temperature:
        return None
    generators = [torch.Generator().manual_seed(seed_of(prompt, decoding)) for prompt in batch]

    def draw(_input_ids: Any, scores: Any) -> Any:
        kept = scores.float() / decoding.temperature
        if decoding.top_p < 1:
            kept = TopPLogitsWarper(top_p=decoding.top_p)(_input_ids, kept)
        uniform = torch.stack([torch.rand(kept.shape[1], generator=generator) for generator in generators])
        return kept - torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7))).to(kept.device)

    return LogitsProcessorList([draw])
