"""Two automation conditions of our own: a quiet period, and a minimum change of the corpus since the last training.

They are Python, so their sensors are evaluated in the code location and not in the daemon.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import dagster as dg

from codeft_assets.defs.environment import loaded_number, read_number
from codeft_assets.defs.workspace import Workspace
from codeft_assets.store.corpus_change import changed_fraction


class QuietFor(dg.AutomationCondition):
    """True once ``event`` has not been true for some seconds; true too where it never was."""

    def __init__(self, event: dg.AutomationCondition, seconds: float, variable: str) -> None:
        self._event, self._seconds, self._variable = event, seconds, variable

    @property
    def name(self) -> str:
        """The label in the web UI."""
        return f"quiet for {loaded_number(self._variable, self._seconds):,.0f} s"

    @property
    def children(self) -> Sequence[dg.AutomationCondition]:
        """The event that ends a quiet period."""
        return [self._event]

    async def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:  # type: ignore[override]
        """Note when the event was last true, and compare."""
        everything = context.asset_graph_view.get_full_subset(key=context.key)  # also where others are false
        event = await context.for_child_condition(
            self._event, child_indices=[0], candidate_subset=everything
        ).evaluate_async()
        now = context.evaluation_time.timestamp()
        last = json.loads(context.cursor) if context.cursor else None
        if not event.true_subset.is_empty or (last is not None and last > now):  # or a clock set back
            last = now
        quiet = last is None or now - last >= read_number(self._variable, self._seconds)
        return dg.AutomationResult(
            context=context,
            true_subset=context.candidate_subset if quiet else context.get_empty_subset(),
            cursor=None if last is None else json.dumps(last),
            child_results=[event],
        )


class CorpusChangedEnough(dg.AutomationCondition):
    """True if more than a fraction of the corpus's tokens differ from those that the last checkpoint was trained on."""

    def __init__(self, minimum: float, variable: str) -> None:
        self._minimum, self._variable = minimum, variable

    @property
    def name(self) -> str:
        """The label in the web UI."""
        return f"more than {loaded_number(self._variable, self._minimum):.1%} of the corpus's tokens changed"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """Measure only where every other condition holds: changed shards are read for it."""
        enough = False
        if not context.candidate_subset.is_empty:
            changed = changed_fraction(Workspace().store)
            minimum = read_number(self._variable, self._minimum)
            enough = changed > minimum
            context.log.info(
                f"{changed:.2%} of the corpus's tokens changed since the last checkpoint, of {minimum:.2%}"
            )
        subset = context.candidate_subset if enough else context.get_empty_subset()
        return dg.AutomationResult(context=context, true_subset=subset)
