"""Completions of many prompts: batches of similar length that stop early, the same in CUDA graphs, or continuously.

A batch gives the same text in every run, whatever else is asked (float32; in bfloat16 the batch size matters and is
recorded). Sampling draws from a generator seeded with task, item and sample, so it depends on nothing else. Continuous
batching replaces a finished row at once; it is greedy only.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from codeft_eval.generation.cuda_graph import STEPS_BETWEEN_LOOKS, is_recordable, write_tokens

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
    yield from _each_batch(tokenizer, prompts, decoding, is_waiting, lambda batch: _by_generate(model, batch))


def in_graphs(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding, is_waiting: IsWaiting
) -> Iterator[dict[Prompt, str]]:
    """As `in_batches`, each step of a batch replayed from a CUDA graph.

    Raises:
        ValueError: not all of the model's layers have full attention.
    """
    if not is_recordable(model.config):
        raise ValueError(
            f"engine 'graphs' needs full attention in every layer, and this {model.config.model_type!r} has a sliding "
            "window; use the engine 'batches'"
        )
    yield from _each_batch(tokenizer, prompts, decoding, is_waiting, lambda batch: _by_graphs(model, batch))


@dataclass(frozen=True, slots=True)
class _Batch:
    """Prompts of similar length, padded on the left."""

    prompts: list[Prompt]
    tokenizer: Any
    decoding: Decoding

    @property
    def num_new(self) -> int:
        return max(prompt.max_new_tokens for prompt in self.prompts)

    def tensors(self, device: Any) -> tuple[Any, Any]:
        """Tokens and mask, [rows, width]."""
        import torch

        width = max(len(prompt.tokens) for prompt in self.prompts)
        gaps = [width - len(prompt.tokens) for prompt in self.prompts]
        padding = _padding(self.tokenizer)
        rows = [[padding] * gap + list(prompt.tokens) for gap, prompt in zip(gaps, self.prompts, strict=True)]
        mask = [[0] * gap + [1] * (width - gap) for gap in gaps]
        return torch.tensor(rows, device=device), torch.tensor(mask, device=device)


def _each_batch(
    tokenizer: Any,
    prompts: Sequence[Prompt],
    decoding: Decoding,
    is_waiting: IsWaiting,
    write: Callable[[_Batch], list[list[int]]],
) -> Iterator[dict[Prompt, str]]:
    for start in range(0, len(prompts), decoding.batch_size):
        chosen = [prompt for prompt in prompts[start : start + decoding.batch_size] if is_waiting(prompt.key)]
        if chosen:
            texts = _texts(tokenizer, chosen, write(_Batch(chosen, tokenizer, decoding)), decoding.stops)
            yield dict(zip(chosen, texts, strict=True))


def _by_generate(model: Any, batch: _Batch) -> list[list[int]]:
    import torch
    from transformers import GenerationConfig, StoppingCriteriaList

    rows, mask = batch.tensors(model.device)
    width = rows.shape[1]
    ends = _Ends(batch, steps_between_looks=1)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=batch.num_new,
        pad_token_id=_padding(batch.tokenizer),
        eos_token_id=batch.tokenizer.eos_token_id,
    )
    with torch.inference_mode():
        found = model.generate(
            rows,
            attention_mask=mask,
            generation_config=config,
            stopping_criteria=StoppingCriteriaList([lambda ids, _scores, **_: ends(ids[:, width:])]),
            logits_processor=_noise(batch.prompts, batch.decoding),
        )
    return found[:, width:].tolist()


def _by_graphs(model: Any, batch: _Batch) -> list[list[int]]:
    rows, mask = batch.tensors(model.device)
    ends = _Ends(batch, steps_between_looks=STEPS_BETWEEN_LOOKS)
    noise = _noise(batch.prompts, batch.decoding)

    def choose(logits: Any) -> Any:
        return (noise(None, logits) if noise else logits).argmax(-1)

    return write_tokens(model, rows, mask, batch.num_new, choose, lambda found: bool(ends(found).all())).tolist()


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
    """Which rows of a batch are done: they wrote a stop or the end of the text, or reached their own limit."""

    def __init__(self, batch: _Batch, steps_between_looks: int) -> None:
        self._tokenizer, self._stops = batch.tokenizer, batch.decoding.stops
        self._limits = [prompt.max_new_tokens for prompt in batch.prompts]
        self._done = [False] * len(batch.prompts)
        self._tail = _tail_tokens(self._stops) + steps_between_looks - 1

    def __call__(self, found: Any) -> Any:
        """One truth value a row, of the new tokens [rows, steps]."""
        import torch

        waiting = [index for index, done in enumerate(self._done) if not done]
        tails = found[:, -self._tail :].tolist()
        texts = self._tokenizer.batch_decode([tails[index] for index in waiting])
        end = self._tokenizer.eos_token_id
        for index, text in zip(waiting, texts, strict=True):
            self._done[index] = (
                found.shape[1] >= self._limits[index]
                or end in tails[index]
                or any(stop in text for stop in self._stops)
            )
        return torch.tensor(self._done, device=found.device)


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
