"""Row counts of a stage: how many documents came in, went out and were dropped, and for which reasons.

Invariant, checked at construction: ``num_in == num_out + sum(dropped.values())``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MAX_EXAMPLES = 5
"""Examples kept per drop reason: enough to judge a rule by reading, small enough for metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """The row counts of one stage over one or more shards."""

    num_in: int
    num_out: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Drop reason -> number of rows or documents."""
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Drop reason -> a few examples, each one short text."""
    seconds: float = 0.0
    """Seconds of work, summed over workers."""

    def __post_init__(self) -> None:
        num_dropped = sum(self.dropped.values())
        assert self.num_in == self.num_out + num_dropped, (
            f"row counts do not reconcile: {self.num_in} in, {self.num_out} out, "
            f"{num_dropped} dropped {dict(self.dropped)}"
        )

    @property
    def num_dropped(self) -> int:
        """Rows dropped for any reason."""
        return sum(self.dropped.values())


def merge_reports(reports: Iterable[StageReport]) -> StageReport:
    """Return the sum of ``reports``, with the first examples of each reason."""
    num_in, num_out, seconds = 0, 0, 0.0
    dropped: Counter[str] = Counter()
    examples: dict[str, tuple[str, ...]] = {}
    for report in reports:
        num_in += report.num_in
        num_out += report.num_out
        seconds += report.seconds
        dropped.update(report.dropped)
        for reason, found in report.examples.items():
            examples[reason] = (*examples.get(reason, ()), *found)[:MAX_EXAMPLES]
    return StageReport(
        num_in=num_in, num_out=num_out, dropped=dict(sorted(dropped.items())), examples=examples, seconds=seconds
    )
