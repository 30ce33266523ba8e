"""A plain decoder over the weights of a Llama, Qwen2 or Qwen3 model, for a static cache that all rows share.

It computes what transformers' forward computes, with fewer and larger kernels: queries, keys and values are one matrix
product, gate and up projection another, and the heads that share a key are the rows of one product instead of copies
of the key. Every row of a batch has its own position, so rows of different length are decoded together.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

MODEL_TYPES = ("llama", "qwen2", "qwen3")
ROPE_TYPES = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings that do not depend on the length of the text."""
TOLERANCES = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 0.1}
"""The largest norm of the difference from transformers' logits, relative to the norm of these.

Where transformers' own logits differ more from those in float32, twice that is allowed, measured from float32.
"""
_NUM_COMPARED = 32
_MASKED = -1e9

Cache = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, [rows * key heads, length, width of a head]."""


def why_unsupported(config: Any) -> str:
    """Return why the decoder cannot run a model of this configuration; nothing where it can."""
    is_sliding = getattr(config, "sliding_window", None) is not None
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention" if is_sliding else "full_attention"])
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if config.model_type not in MODEL_TYPES:
        return f"model type {config.model_type!r} is none of {', '.join(MODEL_TYPES)}"
    if kinds != {"full_attention"}:
        return f"its layers have {', '.join(sorted(kinds))}, not full attention alone"
    if rope not in ROPE_TYPES:
        return f"rotary embeddings of type {rope!r} are none of {', '.join(ROPE_TYPES)}"
    return "" if config.hidden_act == "silu" else f"its activation is {config.hidden_act!r}, not 'silu'"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Linear:
    """One matrix of the layers that read the same input."""

    weight: Tensor
    bias: Tensor | None

    @classmethod
    def fused(cls, *modules: Any) -> _Linear:
        weight = torch.cat([module.weight for module in modules])
        has_bias = modules[0].bias is not None
        return cls(weight=weight, bias=torch.cat([module.bias for module in modules]) if has_bias else None)

    def __call__(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.weight, self.bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    attention_norm: Any
    qkv: _Linear
    query_norm: Any
    """Qwen3's; None elsewhere."""
    key_norm: Any
    output: Any
    mlp_norm: Any
    gate_up: _Linear
    down: Any

    @classmethod
    def of(cls, module: Any) -> _Layer:
        attention, mlp = module.self_attn, module.mlp
        return cls(
            attention_norm=module.input_layernorm,
            qkv=_Linear.fused(attention.q_proj, attention.k_proj, attention.v_proj),
            query_norm=getattr(attention, "q_norm", None),
            key_norm=getattr(attention, "k_norm", None),
            output=attention.o_proj,
            mlp_norm=module.post_attention_layernorm,
            gate_up=_Linear.fused(mlp.gate_proj, mlp.up_proj),
            down=mlp.down_proj,
        )


class Decoder:
    """Prefill and decoding steps of a loaded transformers model, checked against its own forward."""

    @torch.inference_mode()
    def __init__(self, model: Any, length: int) -> None:
        """Take the weights of ``model``, for texts of at most ``length`` tokens.

        Raises:
            ValueError: the logits differ from transformers'.
        """
        attention, config = model.model.layers[0].self_attn, model.config
        self.num_heads, self.num_key_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_width, self._scale, self._epsilon = attention.head_dim, attention.scaling, config.rms_norm_eps
        self.length, self.vocabulary = length, model.lm_head.weight.shape[0]
        self.device, self.dtype = model.lm_head.weight.device, model.lm_head.weight.dtype
        self._embedding, self._norm, self._head = model.model.embed_tokens.weight, model.model.norm, model.lm_head
        self._layers = [_Layer.of(layer) for layer in model.model.layers]
        places = torch.arange(max(length, _NUM_COMPARED), device=self.device)
        self._cos, self._sin = (table[0] for table in model.model.rotary_emb(self._embedding[:1], places[None]))
        self._assert_agrees(model)

    @property
    def bytes_per_token(self) -> int:
        """The size of a token's keys and values."""
        return 2 * len(self._layers) * self.num_key_heads * self.head_width * self.dtype.itemsize

    def new_cache(self, num_rows: int, length: int) -> Cache:
        """Return a cache of zeros: whatever else lay there could be NaN, which no mask takes away."""
        shape = (num_rows * self.num_key_heads, length, self.head_width)
        empty = {"dtype": self.dtype, "device": self.device}
        return [(torch.zeros(shape, **empty), torch.zeros(shape, **empty)) for _ in self._layers]

    @torch.inference_mode()
    def prefill(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Return the logits behind each prompt, and keys and values by layer, [prompts, key heads, width, head].

        ``tokens``, [prompts, width], is padded on the right, where no token of a prompt looks.
        """
        found = []

        def attend(_layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            query, key, value = (heads.transpose(1, 2) for heads in (query, key, value))
            found.append((key, value))
            mixed = functional.scaled_dot_product_attention(
                query, key, value, is_causal=True, scale=self._scale, enable_gqa=self.num_heads != self.num_key_heads
            )
            return mixed.transpose(1, 2)

        hidden = self._forward(tokens, torch.arange(tokens.shape[1], device=self.device), attend)
        last = hidden[torch.arange(len(tokens), device=self.device), lengths - 1]
        return self._head(self._rms_norm(last, self._norm)), found

    def store(self, cache: Cache, rows: Tensor, source: Tensor, found: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Write prefilled keys and values into ``rows`` of a cache; ``source`` is each row's prompt."""
        for kept, new in zip(cache, found, strict=True):
            for table, values in zip(kept, new, strict=True):
                by_head = table.unflatten(0, (-1, self.num_key_heads))
                by_head[rows, :, : values.shape[2]] = values[source]

    def rows_of(self, tables: tuple[Tensor, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return a copy of ``rows`` of a layer's cache."""
        keys, values = (table.unflatten(0, (-1, self.num_key_heads))[rows].flatten(0, 1) for table in tables)
        return keys, values

    @torch.inference_mode()
    def decode(self, tokens: Tensor, positions: Tensor, cache: Cache, width: int) -> Tensor:
        """Return the logits behind each row's token; it is written to the cache, of which ``width`` places are read."""
        num_rows = len(tokens)
        places = torch.arange(width, device=self.device)
        hidden_places = (places[None] > positions[:, None]).repeat_interleave(self.num_key_heads, 0)[:, None]
        mask = torch.zeros(hidden_places.shape, dtype=self.dtype, device=self.device).masked_fill(
            hidden_places, _MASKED
        )
        heads = torch.arange(num_rows * self.num_key_heads, device=self.device)
        targets = positions.repeat_interleave(self.num_key_heads)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = cache[layer]
            keys[heads, targets] = key.reshape(-1, self.head_width)
            values[heads, targets] = value.reshape(-1, self.head_width)
            grouped = query.reshape(len(heads), -1, self.head_width)
            scores = torch.bmm(grouped, keys[:, :width].transpose(1, 2)).mul_(self._scale).add_(mask)
            weights = scores.softmax(-1, dtype=torch.float32).to(self.dtype)
            return torch.bmm(weights, values[:, :width]).view(num_rows, self.num_heads, self.head_width)

        return self._head(self._rms_norm(self._forward(tokens, positions, attend), self._norm))

    def _forward(
        self, tokens: Tensor, positions: Tensor, attend: Callable[[int, Tensor, Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Return the last layer's output; ``attend`` mixes a layer's values, [..., heads, width of a head]."""
        cos, sin = self._cos[positions][:, None], self._sin[positions][:, None]
        sizes = [self.num_heads, self.num_key_heads, self.num_key_heads]
        hidden = functional.embedding(tokens, self._embedding)
        for number, layer in enumerate(self._layers):
            qkv = layer.qkv(self._rms_norm(hidden, layer.attention_norm)).unflatten(-1, (-1, self.head_width))
            query, key, value = qkv.split(sizes, -2)
            if layer.query_norm is not None:
                query, key = self._rms_norm(query, layer.query_norm), self._rms_norm(key, layer.key_norm)
            mixed = attend(number, _rotate(query, cos, sin), _rotate(key, cos, sin), value)
            hidden = hidden + layer.output(mixed.flatten(-2))
            gate, up = layer.gate_up(self._rms_norm(hidden, layer.mlp_norm)).chunk(2, -1)
            hidden = hidden + layer.down(functional.silu(gate) * up)
        return hidden

    def _rms_norm(self, hidden: Tensor, norm: Any) -> Tensor:
        return functional.rms_norm(hidden, norm.weight.shape, norm.weight, self._epsilon)

    def _assert_agrees(self, model: Any) -> None:
        tokens = torch.arange(1, _NUM_COMPARED + 1, device=self.device) * 7919 % self.vocabulary

        def reference(model: Any) -> Tensor:
            return model(input_ids=tokens[None]).logits[0, -2:].float()

        first, last = tokens[:-1], torch.tensor([_NUM_COMPARED - 1], device=self.device)
        row, cache = torch.zeros_like(last), self.new_cache(1, _NUM_COMPARED)
        prefilled, found = self.prefill(first[None], last)
        self.store(cache, row, row, found)
        found = torch.cat([prefilled, self.decode(tokens[-1:], last, cache, _NUM_COMPARED)]).float()
        expected, tolerance = reference(model), TOLERANCES[self.dtype]
        error = _relative_error(found, expected)
        if error <= tolerance:
            return
        exact = reference(copy.deepcopy(model).float())  # a fine-tuned model may lose more by the type's few bits
        error, tolerance = _relative_error(found, exact), max(tolerance, 2 * _relative_error(expected, exact))
        if not error <= tolerance:
            raise ValueError(
                f"engine 'graphs': its logits differ from transformers' by {error:.2g} of their norm, more than "
                f"{tolerance:.2g} in {self.dtype}; use the engine 'batches'"
            )


def _relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def _rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = heads.chunk(2, -1)
    return heads * cos + torch.cat([-second, first], -1) * sin
