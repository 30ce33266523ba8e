"""Rules of automation: a change upstream re-runs its source, then once everything down to the corpus.

Nothing is requested because it is missing: the first materialization is a person's. Conditions latch on changed data
versions, so an identical result stops the propagation. Training and scores follow on their own schedule, switched off
until wanted, and only when the corpus has changed by more than a little.
"""

from __future__ import annotations

import warnings
from typing import Any

import dagster as dg

from codeft_assets.defs.automation.conditions import CorpusChangedEnough, QuietFor
from codeft_assets.defs.environment import loaded_number

POLL_VARIABLE = "CODEFT_POLL_SECONDS"
OBSERVATION_INTERVAL_SECONDS = 3600
EVALUATION_SECONDS = min(30, int(loaded_number(POLL_VARIABLE, OBSERVATION_INTERVAL_SECONDS)))
"""Dagster's default, and never less often than upstreams are polled."""
QUIET_SECONDS = 5400
"""The corpus waits until no source has changed for one and a half times the interval between two polls: sources that
change within one hour, and so may be seen by two polls, make one corpus. Overridden by ``CODEFT_QUIET_SECONDS``."""
TRAINING_CRON = "0 3 * * 6"
"""Saturdays at 03:00: after a week of changes, not after each."""
RETRY_CRON = "0 6 * * *"
"""A source whose last run failed is tried again every morning: most failures of upstreams pass by themselves."""
MINIMUM_CHANGED_FRACTION = 0.02
"""Below two percent of the tokens a small model's scores move less than their own intervals. Overridden by
``CODEFT_MINIMUM_CHANGE``."""

_CORPUS_GROUPS = ("quality", "dedup", "decontamination", "corpus")
_TRAINING = dg.AssetSelection.groups("model", "scores") | dg.AssetSelection.assets(["corpus", "packed"])


def _any_parent_changed() -> Any:
    return dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())


def _any_parent_changes() -> Any:
    return dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.data_version_changed() | dg.AutomationCondition.will_be_requested()
    )


def _settled() -> Any:
    """Nothing that is needed is missing or being made, here or further up."""
    parents_idle = ~dg.AutomationCondition.any_deps_in_progress()
    grandparents_idle = ~dg.AutomationCondition.any_deps_match(dg.AutomationCondition.any_deps_in_progress())
    return (
        ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.in_progress()
        & parents_idle
        & grandparents_idle
        & dg.AutomationCondition.all_deps_blocking_checks_passed()
    )


def on_source_change() -> dg.AutomationCondition:
    """Re-materialize a source when its upstream's data files changed, or once a day if its last run failed."""
    retry = dg.AutomationCondition.execution_failed() & dg.AutomationCondition.cron_tick_passed(RETRY_CRON)
    idle = ~dg.AutomationCondition.in_progress() & ~dg.AutomationCondition.any_deps_missing()
    known = ~dg.AutomationCondition.missing() | dg.AutomationCondition.execution_failed()
    return ((_any_parent_changed() | retry).since_last_handled() & idle & known).with_label("upstream changed")


def on_documents_change() -> dg.AutomationCondition:
    """Re-run a stage that reads documents, once all sources have settled and none has changed for a while."""
    changed = _any_parent_changed()
    quiet = QuietFor(changed, QUIET_SECONDS, "CODEFT_QUIET_SECONDS")
    return (changed.since_last_handled() & _settled() & quiet).with_label("documents changed")


def on_stage_change() -> dg.AutomationCondition:
    """Re-run a stage below other stages, in the same run as these.

    Documents are ignored: the stages above react to them first, and this one follows.
    """
    changed = _any_parent_changes().ignore(dg.AssetSelection.groups("sources"))
    return (changed.since_last_handled() & _settled()).with_label("a stage above changed")


def on_schedule() -> dg.AutomationCondition:
    """Train and score at the first weekly window after the corpus changed, if it changed by enough.

    The window counts only after the last change: a change in the middle of a quiet month waits for Saturday too.
    """
    enough = CorpusChangedEnough(MINIMUM_CHANGED_FRACTION, "CODEFT_MINIMUM_CHANGE")
    return (_weekly() & enough).with_label("corpus changed, weekly window")


def on_checkpoint_change() -> dg.AutomationCondition:
    """Score in the same run as the training; a checkpoint that a person trained is scored at the next window."""
    return _weekly().with_label("checkpoint changed, weekly window")


def _weekly() -> Any:
    window = dg.AutomationCondition.cron_tick_passed(TRAINING_CRON).since(_any_parent_changed())
    follows = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.will_be_requested()).allow(_TRAINING)
    return _any_parent_changes().since_last_handled() & (window | follows) & _settled()


class _AutomationSensor(dg.AutomationConditionSensorDefinition):
    """Logs what is requested: two lines for each asset and tick that requests nothing are 145 MB a day."""

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> Any:
        context.log.setLevel("INFO")
        return super().evaluate_tick(context)


with warnings.catch_warnings():
    # conditions written in Python, and so the evaluation in the code location, are marked beta in Dagster 1.13
    warnings.simplefilter("ignore", dg.BetaWarning)
    CORPUS_AUTOMATION = _AutomationSensor(
        "corpus_automation",
        target=dg.AssetSelection.groups("upstream", "sources", *_CORPUS_GROUPS) - _TRAINING,
        default_status=dg.DefaultSensorStatus.RUNNING,
        use_user_code_server=True,
        minimum_interval_seconds=EVALUATION_SECONDS,
        description="Re-materializes changed sources and, once they have settled, the stages below them.",
    )
    TRAINING_AUTOMATION = _AutomationSensor(
        "training_automation",
        target=_TRAINING,
        default_status=dg.DefaultSensorStatus.STOPPED,
        use_user_code_server=True,
        minimum_interval_seconds=EVALUATION_SECONDS,
        description="Trains and scores weekly if the corpus changed by more than two percent. Off until wanted.",
    )
