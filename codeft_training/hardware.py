"""What a run is measured against: the operations a token costs, and what the device can do."""

from __future__ import annotations

from typing import Any

PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "GH200": 989.0, "B200": 2250.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0}
"""Dense bf16, from the vendor's data sheets (SXM where there are several)."""


def flops_per_token(config: Any, context_tokens: int) -> float:
    """Return the operations of one training token: forward and backward, output layer and causal attention included.

    Two a weight forward and four backward (Kaplan 2020, arXiv 2001.08361); a token attends to half the row on average.
    """
    heads = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    per_layer = config.hidden_size * (2 * heads + 2 * keys + 3 * config.intermediate_size)
    weights = config.num_hidden_layers * per_layer + config.vocab_size * config.hidden_size
    return 6.0 * weights + 6.0 * config.num_hidden_layers * context_tokens * heads


def peak_tflops(device_name: str) -> float | None:
    """Return the device's dense bf16 peak in TFLOP/s, or None where it is not known, as on any CPU."""
    words = device_name.replace("-", " ").split()
    return next((peak for name, peak in PEAK_TFLOPS.items() if name in words), None)
