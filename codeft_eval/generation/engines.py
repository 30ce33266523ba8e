"""Completions of many prompts: by transformers in batches, by our own decoder in CUDA graphs, or continuously.

A sample depends on its prompt and on a seed made of task, item and number, so it is the same in every run and, in
float32, whatever else is in its batch; in bfloat16 the number of rows matters, and is recorded. Batches run until their
longest row ends; graphs and continuous batching replace a row that ends, and the latter is greedy only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from codeft_eval.generation.decoding import (
    Decoding,
    IsWaiting,
    Prompt,
    StopTracker,
    cut_at_stop,
    num_tail_tokens,
    sampler,
)

_log = logging.getLogger(__name__)

_SETTLE_SECONDS = 1.0
_PAGE_TOKENS = 256


def in_batches(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding, is_waiting: IsWaiting
) -> Iterator[dict[Prompt, str]]:
    """Yield one dictionary a batch; batches are cut from all prompts, so a resumed run has the same ones."""
    for start in range(0, len(prompts), decoding.batch_size):
        chosen = [prompt for prompt in prompts[start : start + decoding.batch_size] if is_waiting(prompt.key)]
        if chosen:
            texts = _texts(tokenizer, chosen, _generate(model, _Batch(chosen, tokenizer, decoding)), decoding)
            yield dict(zip(chosen, texts, strict=True))


def in_graphs(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding, is_waiting: IsWaiting
) -> Iterator[dict[Prompt, str]]:
    """Yield completions as they end, written by our decoder; a model that it cannot run goes to ``in_batches``."""
    from codeft_eval.generation import in_flight
    from codeft_eval.generation.decoder import why_unsupported

    reason = why_unsupported(model.config)
    if reason:
        _log.warning("engine 'graphs' cannot run this model (%s); the engine 'batches' generates", reason)
        yield from in_batches(model, tokenizer, prompts, decoding, is_waiting)
        return
    waiting = [prompt for prompt in prompts if is_waiting(prompt.key)]
    if not waiting:
        return
    for finished in in_flight.generate(model, tokenizer, waiting, decoding, len(prompts)):
        done = [prompt for prompt, _ in finished]
        yield dict(zip(done, _texts(tokenizer, done, [row for _, row in finished], decoding), strict=True))


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
        """Return tokens and mask, [rows, width]."""
        import torch

        width = max(len(prompt.tokens) for prompt in self.prompts)
        gaps = [width - len(prompt.tokens) for prompt in self.prompts]
        padding = _padding(self.tokenizer)
        rows = [[padding] * gap + list(prompt.tokens) for gap, prompt in zip(gaps, self.prompts, strict=True)]
        mask = [[0] * gap + [1] * (width - gap) for gap in gaps]
        return torch.tensor(rows, device=device), torch.tensor(mask, device=device)


def _generate(model: Any, batch: _Batch) -> list[list[int]]:
    import torch
    from transformers import GenerationConfig, StoppingCriteriaList

    rows, mask = batch.tensors(model.device)
    width = rows.shape[1]
    is_done = StopTracker(batch.prompts, batch.tokenizer, batch.decoding)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=batch.num_new,
        pad_token_id=_padding(batch.tokenizer),
        eos_token_id=batch.decoding.end_tokens(batch.tokenizer) or None,
    )
    with torch.inference_mode():
        found = model.generate(
            rows,
            attention_mask=mask,
            generation_config=config,
            stopping_criteria=StoppingCriteriaList([lambda ids, _scores, **_: is_done(ids[:, width:])]),
            logits_processor=sampler(batch.prompts, batch.decoding),
        )
    return found[:, width:].tolist()


def continuously(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding, is_waiting: IsWaiting
) -> Iterator[dict[Prompt, str]]:
    """Yield one dictionary a finished prompt, in the order in which they finish."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    if decoding.temperature:
        raise ValueError("continuous batching is greedy here; use the engine 'batches' for samples")
    ends = decoding.end_tokens(tokenizer)
    config = GenerationConfig(do_sample=False, pad_token_id=_padding(tokenizer), eos_token_id=ends)
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
            yield {prompt: _texts(tokenizer, [prompt], [result.generated_tokens], decoding)[0]}


ENGINES = {"batches": in_batches, "graphs": in_graphs, "continuous": continuously}


def _cache_size(prompts: Sequence[Prompt], batch_size: int) -> dict[str, Any]:
    """Return room for as many of the longest prompts as a batch has; the default would take all free memory."""
    longest = max(len(prompt.tokens) + prompt.max_new_tokens for prompt in prompts)
    num_pages = batch_size * -(-longest // _PAGE_TOKENS) + 1
    return {
        "page_size": _PAGE_TOKENS,
        "num_blocks": num_pages,
        "max_batch_tokens": max(2048, longest),
        "max_requests_per_batch": batch_size,
    }


def _next_result(manager: Any, num_waiting: int) -> Any:
    """Return a request's tokens so far, or None when there is nothing new yet."""
    result = manager.get_result(timeout=_SETTLE_SECONDS)
    if result is None and not manager.is_running():
        raise RuntimeError(f"continuous batching ended with {num_waiting} prompts unanswered; use the engine 'batches'")
    if result is not None and result.error:
        raise RuntimeError(f"continuous batching: {result.error}; use the engine 'batches'")
    return result


def _is_done(result: Any, tokenizer: Any, stops: Sequence[str]) -> bool:
    tail = tokenizer.decode(result.generated_tokens[-num_tail_tokens(stops) :])
    return result.is_finished() or any(stop in tail for stop in stops)


def _texts(tokenizer: Any, batch: Sequence[Prompt], rows: list[list[int]], decoding: Decoding) -> list[str]:
    texts, ends = [], set(decoding.end_tokens(tokenizer))
    for prompt, row in zip(batch, rows, strict=True):
        tokens = list(takewhile(lambda token: token not in ends, row[: prompt.max_new_tokens]))
        texts.append(cut_at_stop(tokenizer.decode(tokens, skip_special_tokens=True), decoding.stops))
    return texts


def _padding(tokenizer: Any) -> int:
    return next(found for found in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if found is not None)
