"""A user's choices for a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codeft_eval.benchmarks.benchmark import Benchmark, Item
from codeft_eval.benchmarks.catalogue import load_items

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A user's choices for a run."""

    limit: int | None = None
    """The first items only; the score records the number."""
    batch_size: int | None = None
    """None: 64 on a GPU, 16 elsewhere."""
    device: str = ""
    """Empty: a GPU when there is one."""
    dtype: str = ""
    """Empty: bfloat16 on a GPU, float32 elsewhere."""
    engine: str = ""
    """Batches, graphs or continuous; empty: graphs on a GPU where all layers have full attention, batches elsewhere."""
    part: tuple[int, int] = (1, 1)
    """(1, 4) is the first of four parts of the items: each fourth one."""
    parts: Sequence[Path] = ()
    """Folders of runs of parts, whose answers and verdicts are used."""
    num_samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    tier: str | None = None
    allow_unsafe: bool = False
    log: Callable[[str], None] = _log.info

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit {self.limit}: at least one item; leave it out for all")
        number, count = self.part
        if not 1 <= number <= count:
            raise ValueError(f"part {number}/{count}: the parts are 1/{count} to {count}/{count}")

    def items(self, benchmark: Benchmark) -> list[Item]:
        """Return the benchmark's items, the first ones where there is a limit.

        Raises:
            ValueError: there are none.
        """
        items = load_items(benchmark)[: self.limit]
        if not items:
            raise ValueError(f"benchmark {benchmark.name!r} has no items; its data is {benchmark.data.origin}")
        return items
