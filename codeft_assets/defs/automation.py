"""When assets run by themselves. A change upstream re-runs its source, then once everything down to the corpus.

Nothing is requested because it is missing: the first materialization is a person's. Conditions latch on changed data
versions, so an identical result stops the propagation. Training and scores follow on their own schedule, switched off
until wanted.
"""

import dagster as dg

OBSERVATION_INTERVAL_SECONDS = 3600
TRAINING_CRON = "0 3 * * 6"
"""Saturdays at 03:00: after a week of changes, not after each."""

_CORPUS_GROUPS = ("quality", "dedup", "decontamination", "corpus")


def _settled() -> dg.AutomationCondition:
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
    """Re-materialize a source when its upstream's data files changed."""
    changed = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())
    idle = ~dg.AutomationCondition.in_progress() & ~dg.AutomationCondition.any_deps_missing()
    return (changed.since_last_handled() & idle).with_label("upstream changed")


def on_documents_change() -> dg.AutomationCondition:
    """Re-run a stage that reads documents, once all sources have settled."""
    changed = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())
    return (changed.since_last_handled() & _settled()).with_label("documents changed")


def on_stage_change() -> dg.AutomationCondition:
    """Re-run a stage below other stages, in the same run as these.

    Documents are ignored: the stages above react to them first, and this one follows.
    """
    changed = dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.data_version_changed() | dg.AutomationCondition.will_be_requested()
    ).ignore(dg.AssetSelection.groups("sources"))
    return (changed.since_last_handled() & _settled()).with_label("a stage above changed")


def on_schedule() -> dg.AutomationCondition:
    """Train and score at the weekly window if the corpus changed since the last time."""
    changed = dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.data_version_changed() | dg.AutomationCondition.will_be_requested()
    ).since_last_handled()
    window = dg.AutomationCondition.cron_tick_passed(TRAINING_CRON).since_last_handled()
    return (changed & window & _settled()).with_label("corpus changed, weekly window")


CORPUS_AUTOMATION = dg.AutomationConditionSensorDefinition(
    "corpus_automation",
    target=dg.AssetSelection.groups("upstream", "sources", *_CORPUS_GROUPS),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Re-materializes changed sources and, once they have settled, the stages below them.",
)
TRAINING_AUTOMATION = dg.AutomationConditionSensorDefinition(
    "training_automation",
    target=dg.AssetSelection.groups("model", "scores"),
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Trains and scores weekly if the corpus changed. Off until you switch it on.",
)
