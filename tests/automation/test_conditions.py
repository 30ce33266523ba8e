"""The real conditions on a small graph of the real shape, in simulated time: what is requested, and when."""

import functools
import json
import operator
import warnings
from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow as pa
import pytest

from codeft_assets.curation.report import StageReport
from codeft_assets.definitions import defs
from codeft_assets.defs.automation import rules
from codeft_assets.defs.automation.conditions import QuietFor
from codeft_assets.store.corpus_change import changed_fraction
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import ShardResult, Stage, Unit, map_shards

FIVE = ("a", "b", "c", "d", "e")
MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)


def asset(key, group, deps, condition):
    @dg.asset(key=key.split("/"), group_name=group, deps=deps, automation_condition=condition)
    def made():
        return dg.MaterializeResult()

    return made


def upstream(name):
    spec = dg.AssetSpec(["upstream", name], group_name="upstream")

    @dg.multi_observable_source_asset(specs=[spec], name=f"upstream_{name}")
    def observe():
        yield dg.ObserveResult(asset_key=["upstream", name])

    return observe


def graph(names):
    documents = [asset(f"documents/{n}", "sources", [["upstream", n]], rules.on_source_change()) for n in names]
    scores = asset("quality/scores", "quality", documents, rules.on_documents_change())
    signatures = asset("dedup/signatures", "dedup", documents, rules.on_documents_change())
    ledger = asset("corpus/ledger", "corpus", [*documents, scores, signatures], rules.on_stage_change())
    mixture = asset("corpus/mixture", "corpus", [*documents, ledger], rules.on_stage_change())
    tokenizer = asset("model/tokenizer", "model", [mixture], rules.on_schedule())
    packed = asset("corpus/packed", "corpus", [mixture, tokenizer], rules.on_schedule())
    checkpoint = asset("model/checkpoint", "model", [packed, tokenizer], rules.on_schedule())
    result = asset("scores/embedded", "scores", [checkpoint], rules.on_checkpoint_change())
    stages = [scores, signatures, ledger, mixture, tokenizer, packed, checkpoint, result]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.Definitions(assets=[*(upstream(name) for name in names), *documents, *stages])


SMALL, LARGE = graph(FIVE[:1]), graph(FIVE)
CORPUS = {"quality/scores", "dedup/signatures", "corpus/ledger", "corpus/mixture"}
TRAINING = {"model/tokenizer", "corpus/packed", "model/checkpoint", "scores/embedded"}


class Simulation:
    """An instance, a clock, and ticks; what is requested is materialized at once, with a new data version."""

    def __init__(self, instance, definitions=SMALL, *, selection=None, begin=True):
        self.instance, self.definitions = instance, definitions
        self.selection = selection or dg.AssetSelection.all()
        self.now, self.cursor, self.version = MONDAY, None, 0
        if begin:
            self.begin()

    def begin(self):
        """Everything was materialized once, as by a person."""
        for key in self.definitions.resolve_asset_graph().observable_asset_keys:
            self.observe(key.path[-1], "1")
        for key in self.definitions.resolve_asset_graph().materializable_asset_keys:
            self.materialize(key)
        self.tick()

    def observe(self, name, version):
        key = dg.AssetKey(["upstream", name])
        tags = {"dagster/data_version": version}
        self.instance.report_runless_asset_event(dg.AssetObservation(key, tags=tags))

    def materialize(self, key, version=None):
        self.version += 1
        tags = {"dagster/data_version": version or str(self.version)}
        self.instance.report_runless_asset_event(dg.AssetMaterialization(key, tags=tags))

    def start(self, key):
        """Start a run of one asset, which goes on until it is canceled."""
        keys = {dg.AssetKey(key.split("/"))}
        job = self.definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys)
        return self.instance.create_run_for_job(job, asset_selection=keys, status=dg.DagsterRunStatus.STARTED)

    def tick(self, seconds=30, *, materialize=True):
        self.now += timedelta(seconds=seconds)
        done = dg.evaluate_automation_conditions(
            self.definitions, self.instance, self.selection, evaluation_time=self.now, cursor=self.cursor
        )
        self.cursor = done.cursor
        requested = [result.key for result in done.results if not result.true_subset.is_empty]
        for key in requested:
            if materialize:
                self.materialize(key)
        return {key.to_user_string() for key in requested}

    def run(self, hours, step_seconds=900):
        """Return what was requested, tick by tick, where anything was."""
        ticks = [(self.now, self.tick(step_seconds)) for _ in range(int(hours * 3600 / step_seconds))]
        return [(at, keys) for at, keys in ticks if keys]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEFT_HOME", str(tmp_path))
    monkeypatch.delenv("CODEFT_QUIET_SECONDS", raising=False)
    monkeypatch.delenv("CODEFT_MINIMUM_CHANGE", raising=False)
    return Store(str(tmp_path))


@pytest.fixture
def instance(store):
    write_mixture(store, ["first"] * 100)
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def simulation(instance):
    return Simulation(instance)


def documents_of(texts, first):
    rows = pa.table(
        {
            "document_id": [str(first + i) for i in range(len(texts))],
            "text": texts,
            "split": ["train"] * len(texts),
            "epochs": pa.array([1] * len(texts), pa.uint8()),
        }
    )
    yield ShardResult(rows=rows, report=StageReport(num_in=len(texts), num_out=len(texts)))


def write_mixture(store, texts):
    """Write the corpus, a shard for every ten documents."""
    units = [
        Unit(name=f"{i}", fingerprint=" ".join(texts[i : i + 10]) + str(i), args=(texts[i : i + 10], i))
        for i in range(0, len(texts), 10)
    ]
    return map_shards(
        documents_of, units, store.table("corpus/mixture"), stage=Stage(name="m", code_version="1")
    ).manifest


def train(store):
    """Note that a checkpoint was trained on the corpus as it is."""
    trained = {"corpus_content_hash": store.table("corpus/mixture").manifest().content_hash}
    (store.folder("model/checkpoint") / "result.json").write_text(json.dumps(trained))


@pytest.mark.slow
def test_an_idle_hour_requests_nothing(simulation):
    assert simulation.run(1, step_seconds=30) == []


def test_looking_again_at_the_same_version_requests_nothing(simulation):
    simulation.observe("a", "1")
    assert simulation.run(3) == []


def test_a_change_runs_its_source_and_after_a_quiet_time_the_stages_once_together(simulation):
    simulation.observe("a", "2")
    assert simulation.tick() == {"documents/a"}
    later = simulation.run(6)
    assert [keys for _, keys in later] == [CORPUS]
    assert later[0][0] - MONDAY >= timedelta(seconds=rules.QUIET_SECONDS)


def test_five_sources_that_change_within_an_hour_make_one_corpus(instance):
    simulation, seen = Simulation(instance, LARGE), []
    for name in FIVE:  # each seen by another look, twelve minutes apart
        simulation.observe(name, "2")
        seen += [keys for _, keys in simulation.run(0.2, step_seconds=360)]
    seen += [keys for _, keys in simulation.run(4, step_seconds=1200)]
    assert seen == [*({f"documents/{name}"} for name in FIVE), CORPUS]


def test_the_stages_wait_while_a_source_is_being_read_and_then_run_once_together(instance):
    simulation = Simulation(instance, LARGE)
    run = simulation.start("documents/b")
    simulation.observe("a", "2")
    assert simulation.tick() == {"documents/a"}
    assert simulation.run(6) == []
    instance.report_run_canceled(run)
    assert [keys for _, keys in simulation.run(1)] == [CORPUS]


def test_a_source_that_was_never_materialized_is_not_requested(instance):
    simulation = Simulation(instance, begin=False)
    simulation.tick()
    simulation.observe("a", "1")
    assert simulation.run(2) == []


def test_a_source_with_the_same_content_after_its_run_goes_no_further(simulation):
    simulation.materialize(dg.AssetKey(["documents", "a"]), version="same")
    simulation.run(6)
    simulation.observe("a", "2")
    assert simulation.tick(materialize=False) == {"documents/a"}
    simulation.materialize(dg.AssetKey(["documents", "a"]), version="same")
    assert simulation.run(6) == []


def test_training_waits_for_the_window_after_the_change_and_takes_the_scores_with_it(simulation, store):
    train(store)
    quiet_month = simulation.run(24 * 14, step_seconds=12 * 3600)  # two windows pass with nothing to do
    assert quiet_month == []
    write_mixture(store, ["second"] * 100)
    simulation.materialize(dg.AssetKey(["corpus", "mixture"]))
    [(at, keys)] = simulation.run(24 * 8, step_seconds=3 * 3600)
    assert keys == TRAINING
    assert (at + timedelta(hours=3)).strftime("%A %H") in {"Saturday 03", "Saturday 04", "Saturday 05"}


@pytest.mark.parametrize("switched_on", [False, True])
def test_training_follows_a_new_corpus_only_where_its_sensor_is_switched_on(instance, store, switched_on):
    sensors = [sensor for sensor in defs.sensors if isinstance(sensor, dg.AutomationConditionSensorDefinition)]
    running = [
        sensor.asset_selection
        for sensor in sensors
        if switched_on or sensor.default_status is dg.DefaultSensorStatus.RUNNING
    ]
    simulation = Simulation(instance, selection=functools.reduce(operator.or_, running))
    train(store)
    write_mixture(store, ["second"] * 100)
    simulation.observe("a", "2")
    requested = set().union(*(keys for _, keys in simulation.run(24 * 8, step_seconds=3 * 3600)))
    assert requested == {"documents/a", *CORPUS, *(TRAINING if switched_on else ())}


@pytest.mark.parametrize(("num_changed", "trains"), [(2, False), (3, True)])
def test_a_change_of_two_percent_is_too_little_to_train(simulation, store, num_changed, trains):
    train(store)
    write_mixture(store, ["other"] * num_changed + ["first"] * (100 - num_changed))
    simulation.materialize(dg.AssetKey(["corpus", "mixture"]))
    assert [keys for _, keys in simulation.run(24 * 8, step_seconds=12 * 3600)] == ([TRAINING] if trains else [])


def test_the_minimum_change_is_configurable(simulation, store, monkeypatch):
    monkeypatch.setenv("CODEFT_MINIMUM_CHANGE", "0.5")
    train(store)
    write_mixture(store, ["other"] * 50 + ["first"] * 50)
    simulation.materialize(dg.AssetKey(["corpus", "mixture"]))
    assert simulation.run(24 * 8, step_seconds=12 * 3600) == []


def test_a_number_that_is_none_names_the_variable_at_the_tick_and_not_in_the_label(monkeypatch):
    monkeypatch.setenv("CODEFT_QUIET_SECONDS", "soon")
    quiet = QuietFor(dg.AutomationCondition.missing(), 60, "CODEFT_QUIET_SECONDS")
    assert quiet.name == "quiet for 60 s"

    @dg.asset(automation_condition=quiet)
    def table():
        """Nothing."""

    defs = dg.Definitions(assets=[table])
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(Exception, match="evaluating conditions for table") as failed:
            dg.evaluate_automation_conditions(defs, instance)
    assert "CODEFT_QUIET_SECONDS='soon' is not a number" in str(failed.value.__cause__)


def test_a_checkpoint_that_a_person_trained_is_scored_at_the_window(simulation, store):
    train(store)
    simulation.materialize(dg.AssetKey(["model", "checkpoint"]))
    assert [keys for _, keys in simulation.run(24 * 8, step_seconds=12 * 3600)] == [{"scores/embedded"}]


def test_a_clock_set_back_delays_the_corpus_by_no_more_than_the_quiet_time(simulation):
    simulation.observe("a", "2")
    simulation.tick()
    simulation.tick()  # the change of the documents is seen now
    simulation.now -= timedelta(days=30)
    assert [keys for _, keys in simulation.run(3)] == [CORPUS]


@pytest.mark.parametrize(
    ("before", "now", "fraction"),
    [
        (["abcd"] * 100, ["abcd"] * 100, 0.0),
        (["abcd"] * 100, ["abcd"] * 100 + ["abcd"] * 20, 0.2),  # added
        (["abcd"] * 100, ["abcd"] * 60, 0.4),  # taken away
        (["abcd"] * 100, ["wxyz"] * 5 + ["abcd"] * 95, 0.05),  # replaced: counted once
        (["abcd"] * 10, ["abcd"] * 50, 1.0),  # never more than all
    ],
)
def test_the_changed_fraction_counts_the_tokens_added_or_taken_away(store, before, now, fraction):
    write_mixture(store, before)
    train(store)
    write_mixture(store, now)
    assert changed_fraction(store) == pytest.approx(fraction)


def test_without_a_checkpoint_or_without_its_corpus_everything_has_changed(store):
    first = write_mixture(store, ["abcd"] * 10)
    assert changed_fraction(store) == 1.0
    train(store)
    write_mixture(store, ["wxyz"] + ["abcd"] * 9)
    assert changed_fraction(store) == pytest.approx(0.1)
    store.table("corpus/mixture").forget({first.content_hash})
    assert changed_fraction(store) == 1.0
