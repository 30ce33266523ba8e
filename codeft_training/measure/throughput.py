"""Throughput of a run: tokens and operations a second, as a share of the device's peak where that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "GH200": 989.0, "B200": 2250.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0}
"""Dense bf16, from the vendor's data sheets (SXM where there are several)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputMeter:
    """Turns tokens a second into operations a second and model FLOPs utilization (MFU)."""

    flops_per_token: float
    peak_tflops: float | None
    """Of all devices together; None where it is not known."""

    def entry(self, tokens_per_second: float) -> dict[str, float]:
        """Return the speed in tokens, operations and, where a peak is known, as a share of it."""
        achieved = tokens_per_second * self.flops_per_token / 1e12
        entry = {"tokens_per_second": round(tokens_per_second, 1), "tflops_per_second": round(achieved, 4)}
        return entry | ({"mfu": round(achieved / self.peak_tflops, 4)} if self.peak_tflops else {})


def flops_per_token(config: Any, context_tokens: int) -> float:
    """Return the operations of one training token: forward and backward, output layer and causal attention included.

    Two a weight forward and four backward (Kaplan 2020, arXiv 2001.08361); a token attends to half the row on average.
    """
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads  # Qwen2 names none
    heads, keys = config.num_attention_heads * size, config.num_key_value_heads * size
    per_layer = config.hidden_size * (2 * heads + 2 * keys + 3 * config.intermediate_size)
    weights = config.num_hidden_layers * per_layer + config.vocab_size * config.hidden_size
    return 6.0 * weights + 6.0 * config.num_hidden_layers * context_tokens * heads


def peak_tflops(device_name: str) -> float | None:
    """Return the device's dense bf16 peak in TFLOP/s, or None where it is not known, as on any CPU."""
    words = device_name.replace("-", " ").split()
    return next((peak for name, peak in PEAK_TFLOPS.items() if name in words), None)


def build_throughput_meter(config: Any, context_tokens: int, num_devices: int = 1) -> ThroughputMeter:
    """Return the meter of a model with this ``config`` on this machine's devices."""
    import torch

    peak = peak_tflops(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
    return ThroughputMeter(
        flops_per_token=flops_per_token(config, context_tokens),
        peak_tflops=None if peak is None else peak * num_devices,
    )
