"""Completions of many prompts: batches of similar length that stop early, the same in CUDA graphs, or continuously.

A batch gives the same text in every run, whatever else is in it (float32; in bfloat16 the batch size matters and is
recorded). Sampling draws from a generator seeded with task, item and sample, so it depends on nothing else. Continuous
batching replaces a finished row at once; it is greedy only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from codeft_eval.generation import cuda_graph
from codeft_eval.generation.cuda_graph import STEPS_BETWEEN_LOOKS, supports_cuda_graph
from codeft_eval.generation.decoding import (
    Decoding,
    IsWaiting,
    Prompt,
    StopTracker,
    cut_at_stop,
    gumbel_sampler,
    num_tail_tokens,
)

_SETTLE_SECONDS = 1.0
_PAGE_TOKENS = 256


def in_batches(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding, is_waiting: IsWaiting
) -> Iterator[dict[Prompt, str]]:
    """Yield one dictionary a batch; batches are cut from all prompts, so a resumed run has the same ones."""
    yield from _each_batch(tokenizer, prompts, decoding, is_waiting, lambda batch: _generate(model, batch))


def in_graphs(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding, is_waiting: IsWaiting
) -> Iterator[dict[Prompt, str]]:
    """Generate as ``in_batches`` does, each step of a batch replayed from a CUDA graph.

    Raises:
        ValueError: not all of the model's layers have full attention.
    """
    if not supports_cuda_graph(model.config):
        raise ValueError(
            f"engine 'graphs' needs full attention in every layer, and this {model.config.model_type!r} has a sliding "
            "window; use the engine 'batches'"
        )
    yield from _each_batch(tokenizer, prompts, decoding, is_waiting, lambda batch: _generate_in_graph(model, batch))


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

    def stop_tracker(self, steps_between_looks: int) -> StopTracker:
        """Return the tracker of the rows that are done, for a look once in so many steps."""
        return StopTracker(self.prompts, self.tokenizer, self.decoding, steps_between_looks)


def _each_batch(
    tokenizer: Any,
    prompts: Sequence[Prompt],
    decoding: Decoding,
    is_waiting: IsWaiting,
    generate: Callable[[_Batch], list[list[int]]],
) -> Iterator[dict[Prompt, str]]:
    for start in range(0, len(prompts), decoding.batch_size):
        chosen = [prompt for prompt in prompts[start : start + decoding.batch_size] if is_waiting(prompt.key)]
        if chosen:
            texts = _texts(tokenizer, chosen, generate(_Batch(chosen, tokenizer, decoding)), decoding.stops)
            yield dict(zip(chosen, texts, strict=True))


def _generate(model: Any, batch: _Batch) -> list[list[int]]:
    import torch
    from transformers import GenerationConfig, StoppingCriteriaList

    rows, mask = batch.tensors(model.device)
    width = rows.shape[1]
    is_done = batch.stop_tracker(steps_between_looks=1)
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
            stopping_criteria=StoppingCriteriaList([lambda ids, _scores, **_: is_done(ids[:, width:])]),
            logits_processor=gumbel_sampler(batch.prompts, batch.decoding),
        )
    return found[:, width:].tolist()


def _generate_in_graph(model: Any, batch: _Batch) -> list[list[int]]:
    rows, mask = batch.tensors(model.device)
    is_done = batch.stop_tracker(STEPS_BETWEEN_LOOKS)
    sampler = gumbel_sampler(batch.prompts, batch.decoding)

    def select_token(logits: Any) -> Any:
        return (sampler(None, logits) if sampler else logits).argmax(-1)

    return cuda_graph.generate(
        model, rows, mask, batch.num_new, select_token, lambda found: bool(is_done(found).all())
    ).tolist()


def continuously(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding, is_waiting: IsWaiting
) -> Iterator[dict[Prompt, str]]:
    """Yield one dictionary a finished prompt, in the order in which they finish."""
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


def _texts(tokenizer: Any, batch: Sequence[Prompt], rows: list[list[int]], stops: Sequence[str]) -> list[str]:
    texts = []
    for prompt, row in zip(batch, rows, strict=True):
        tokens = row[: prompt.max_new_tokens]
        if tokenizer.eos_token_id in tokens:
            tokens = tokens[: tokens.index(tokenizer.eos_token_id)]
        texts.append(cut_at_stop(tokenizer.decode(tokens, skip_special_tokens=True), stops))
    return texts


def _padding(tokenizer: Any) -> int:
    return next(found for found in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if found is not None)
