"""The training forward pass of a Hub model in Qwen3's shape, over the Hub model's own parameters.

Same numbers as ``Qwen3ForCausalLM.forward``, less work: one matmul for query, key and value and one for gate and up
(each input is read once, each input gradient written once), a residual stream in the compute type, and no logits of
the whole batch. The trained parameters are the Hub model's own, so ``save_pretrained`` needs no conversion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn
from transformers import Qwen3ForCausalLM
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from codeft_training.model.distributed import DistributedContext, apply_fsdp
from codeft_training.model.loss import summed_losses, token_losses
from codeft_training.recipe import PretrainRecipe

Mask = Any
"""None for plain causal attention, a boolean ``[rows, 1, context, context]`` on a CPU, a flex block mask on a GPU."""


class Layer(nn.Module):
    """One decoder layer: its parameters are the Hub layer's."""

    def __init__(self, layer: Qwen3DecoderLayer, *, dropout: float) -> None:
        super().__init__()
        self.layer, self.dropout = layer, dropout
        self.head_size = layer.self_attn.head_dim

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Mask, drops: bool) -> Tensor:
        """Return the residual stream ``[rows, context, hidden]`` after this layer; ``drops`` applies dropout."""
        dropout = self.dropout if drops else 0.0
        x = x + _drop(self._attention(_norm(x, self.layer.input_layernorm), cos, sin, mask), dropout)
        return x + _drop(self._mlp(_norm(x, self.layer.post_attention_layernorm)), dropout)

    def _attention(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Mask) -> Tensor:
        attention, (rows, context, _) = self.layer.self_attn, x.shape
        weights = [attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]
        heads = F.linear(x, torch.cat(weights).to(x.dtype)).view(rows, context, -1, self.head_size)
        num_keys = weights[1].shape[0] // self.head_size
        query, key, value = heads.split([heads.shape[2] - 2 * num_keys, num_keys, num_keys], dim=2)
        query = _rotate(_norm(query, attention.q_norm), cos, sin).transpose(1, 2)
        key = _rotate(_norm(key, attention.k_norm), cos, sin).transpose(1, 2)
        mixed = attend(query, key, value.transpose(1, 2), mask)
        return F.linear(mixed.transpose(1, 2).reshape(rows, context, -1), attention.o_proj.weight.to(x.dtype))

    def _mlp(self, x: Tensor) -> Tensor:
        mlp = self.layer.mlp
        gate, up = F.linear(x, torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]).to(x.dtype)).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * up, mlp.down_proj.weight.to(x.dtype))


class TrainedModel(nn.Module):
    """A Hub model that returns the summed losses of a micro-batch."""

    def __init__(self, model: Qwen3ForCausalLM, *, dtype: torch.dtype, z_loss: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.hub = model
        layers = (cast(Qwen3DecoderLayer, layer) for layer in model.model.layers)
        self.layers = nn.ModuleList(Layer(layer, dropout=dropout) for layer in layers)
        self.dtype, self.z_loss, self.dropout = dtype, z_loss, dropout
        self._steps: list[Callable[..., Tensor]] = list(self.layers)
        self._hidden: Callable[..., Tensor] = self._all_layers

    def compile_parts(self, parts: str) -> None:
        """Compile each layer (``layers``: one graph serves all), the whole body (``model``), or nothing (``off``)."""
        if parts == "layers":
            self._steps = [torch.compile(layer, dynamic=False) for layer in self.layers]
        elif parts == "model":
            self._hidden = torch.compile(self._all_layers, dynamic=False, fullgraph=True)

    @torch.no_grad()
    def token_nats(self, ids: Tensor, labels: Tensor, mask: Mask = None) -> Tensor:
        """Return each label's loss in nats, 0 where it is -100, ``[rows, context]``; compiles nothing for the shape."""
        hidden = self._all_layers(ids, list(self.layers), self._angles(ids), mask, drops=False)
        return token_losses(hidden.flatten(0, 1), self.hub.lm_head.weight, labels.flatten()).view(ids.shape)

    def _angles(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosine and sine of the rotary angles, ``[context, 1, size]``, in fp32."""
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        # bf16 has 8 bits of mantissa, too few for positions beyond 256
        cos, sin = self.hub.model.rotary_emb(torch.empty((), device=ids.device), positions)
        return cos[0, :, None, :], sin[0, :, None, :]

    def _all_layers(
        self, ids: Tensor, steps: list[Callable[..., Tensor]], angles: tuple[Tensor, Tensor], mask: Mask, *, drops: bool
    ) -> Tensor:
        body = self.hub.model
        x = _drop(F.embedding(ids, body.embed_tokens.weight).to(self.dtype), self.dropout if drops else 0.0)
        for step in steps:
            x = step(x, *angles, mask, drops)
        return _norm(x, body.norm)

    def forward(self, ids: Tensor, labels: Tensor, scale: Tensor, mask: Mask = None) -> tuple[Tensor, Tensor]:
        """Return the loss to differentiate and the cross entropy, both summed over the labels and times ``scale``.

        Args:
            ids: Token ids ``[rows, context]``.
            labels: The next token of each token, or -100 where that is not trained on, ``[rows, context]``.
            scale: One over the number of labels of the global batch.
            mask: The attention mask, if tokens do not see all earlier ones.
        """
        hidden = self._hidden(ids, self._steps, self._angles(ids), mask, drops=True).flatten(0, 1)
        return summed_losses(hidden, self.hub.lm_head.weight, labels.flatten(), scale, self.z_loss)


def prepare_model(model: Qwen3ForCausalLM, recipe: PretrainRecipe, context: DistributedContext) -> TrainedModel:
    """Return the training forward pass of ``model`` on the device, compiled or sharded as the recipe says."""
    bf16 = recipe.precision.bf16
    torch.set_float32_matmul_precision("high" if bf16 else "highest")
    dtype = torch.bfloat16 if bf16 else torch.float32
    model.to(context.device)  # pyright: ignore[reportArgumentType]
    model.train()
    trained = TrainedModel(model, dtype=dtype, z_loss=recipe.pretraining.z_loss, dropout=recipe.repetition.dropout)
    if recipe.pretraining.parallel == "shard" and context.size > 1:
        apply_fsdp(trained, list(trained.layers), context, dtype)
    trained.compile_parts(recipe.pretraining.compile)
    return trained


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Mask) -> Tensor:
    """Return causal attention; key and value may have fewer heads. All ``[rows, heads, context, size]``."""
    shares_keys = query.shape[1] != key.shape[1]
    if mask is None or isinstance(mask, Tensor):
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, enable_gqa=shares_keys
        )
    from torch.nn.attention.flex_attention import flex_attention

    return cast(Tensor, flex_attention(query, key, value, block_mask=mask, enable_gqa=shares_keys))


def document_mask(document: Tensor) -> Mask:
    """Return the mask that lets a token see the earlier tokens of its own document.

    Args:
        document: A number for each token that is the same within a document, ``[rows, context]``.
    """
    if document.device.type != "cuda":  # flex attention has no backward pass on a CPU
        causal = torch.ones(document.shape[1], document.shape[1], dtype=torch.bool).tril()
        return (document[:, :, None] == document[:, None, :])[:, None] & causal
    from torch.nn.attention.flex_attention import create_block_mask

    def same_document(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del head
        return (query >= key) & (document[row, query] == document[row, key])

    rows, context = document.shape
    return _compiled_once(create_block_mask)(same_document, rows, None, context, context, device="cuda")


_COMPILED: dict[Any, Any] = {}


def _compiled_once(function: Any) -> Any:
    if function not in _COMPILED:
        _COMPILED[function] = torch.compile(function)
    return _COMPILED[function]


def _drop(x: Tensor, share: float) -> Tensor:
    # nothing at all without a share: a compiled graph has no trace of it
    return F.dropout(x, share) if share else x


def _norm(x: Tensor, norm: Any) -> Tensor:
    wide = x.float()
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + norm.variance_epsilon)
    return (wide * norm.weight).to(x.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)
