"""Figures as text: estimates, ratios, p-values, numbers of tokens."""

from __future__ import annotations

from collections.abc import Sequence

from codeft_eval.scoreboard.history import Change
from codeft_eval.scoring.scores import BITS_PER_BYTE
from codeft_eval.statistics.comparison import Interval
from codeft_eval.statistics.intervals import Estimate


def show(estimate: Estimate | None, metric: str) -> str:
    """Return an estimate with its standard error and interval, in percent for pass rates."""
    if estimate is None:
        return "no score"
    value, stderr, low, high = estimate.value, estimate.stderr, estimate.low, estimate.high
    if metric == BITS_PER_BYTE:
        return f"{value:.3f} ± {stderr:.3f} ({low:.3f}–{high:.3f})"
    return f"{100 * value:.1f} % ± {100 * stderr:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def show_ratio(ratio: Interval | None) -> str:
    """Return a ratio with its interval."""
    return f"{ratio.value:.2f} ({ratio.low:.2f}–{ratio.high:.2f})" if ratio else "n/a"


def show_p(p_value: float) -> str:
    """Return a p-value to two digits that mean something."""
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.2g}"


def show_tokens(num_tokens: int | None) -> str:
    """Return a number of tokens for people."""
    if num_tokens is None:
        return "tokens unknown"
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if num_tokens >= size:
            return f"{num_tokens / size:.3g}{unit} tokens"
    return f"{num_tokens} tokens"


def show_since(changes: Sequence[Change]) -> str:
    """Return the checkpoint that the changes are counted from."""
    return f"{changes[0].before_hash[:16]} ({show_tokens(changes[0].before_tokens)})"
