"""Measurements of a run are visible while it runs: in the event log as observations, and in TensorBoard's files."""

import json
import os
import sys
import threading
import time

import dagster as dg
import pytest

from codeft_assets.defs.live import observing
from codeft_assets.defs.messages import program_client
from codeft_training.measure.metrics import Metrics, step_line
from tests import patience
from tests.training.children import Collected

MEASURING = """
import sys
from codeft_assets.base.report import open_reporter
with open_reporter() as reporter:
    reporter.observe({"step": 5, "loss": 2.5, "tokens_per_second": 1000.0})
    reporter.observe({"step": 5, "bits_per_byte": 1.25})
    reporter.observe({"step": 6, "loss": 2.4, "tokens_per_second": 1000.0})  # the same kind within two seconds
    open(sys.argv[1]).read()  # ends only once somebody has seen what was observed
    reporter.materialize({"steps": 6}, "v1")
"""


@dg.asset(name="run")
def watched(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult:
    command = [sys.executable, "-c", MEASURING, os.environ["CODEFT_TEST_FIFO"]]
    return observing(pipes, context).run(command=command, context=context).get_materialize_result()


def observations(instance):
    records = instance.fetch_observations(dg.AssetKey("run"), limit=100).records
    return [{name: value.value for name, value in record.asset_observation.metadata.items()} for record in records]


def test_measurements_are_observations_while_the_process_still_runs(tmp_path, monkeypatch):
    fifo, gave_up = tmp_path / "fifo", threading.Timer(patience.SECONDS, lambda: fifo.write_text(""))
    os.mkfifo(fifo)
    monkeypatch.setenv("CODEFT_TEST_FIFO", str(fifo))
    gave_up.start()
    seen, ended = [], threading.Event()
    with dg.DagsterInstance.ephemeral() as instance:

        def watch():
            while len(seen) < 2 and not ended.wait(0.05):
                seen[:] = observations(instance)
            fifo.write_text("go on")

        watcher = threading.Thread(target=watch)
        watcher.start()
        result = dg.materialize([watched], instance=instance, resources={"pipes": program_client()})
        ended.set()
        watcher.join()
        gave_up.cancel()
        assert result.success
        first = {"step": 5, "loss": 2.5, "tokens_per_second": 1000.0}
        wanted = [first, first | {"bits_per_byte": 1.25}]  # what was measured before is repeated: lines do not break
        assert seen[::-1] == wanted == observations(instance)[::-1]


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(folder))
    board.Reload()
    return {tag: [(e.step, e.value) for e in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


@pytest.fixture
def board():
    pytest.importorskip("tensorboard")


def record(metrics, step, loss):
    metrics.record({"step": step, "loss": loss, "recipe": "text"}, f"step {step}")


def test_tensorboard_shows_what_the_metrics_say_and_no_step_twice_after_a_kill(tmp_path, board):
    first = Metrics(tmp_path, Collected())
    first.rewind(0)
    for step in (1, 2, 3):
        record(first, step, float(step))
    first.record({"step": 3, "bits_per_byte_code": 1.5, "probe_bits_per_byte_code": 2.5}, "held out")
    time.sleep(1.1)  # TensorBoard orders files by their second, and those of one second by a counter, as text: 10 < 9
    second = Metrics(tmp_path, Collected())  # the first one was killed after step 3; its last checkpoint is of step 2
    second.rewind(2)
    record(second, 3, 30.0)
    second.close()
    shown = scalars(tmp_path / "tensorboard")
    assert shown["training/loss"] == [(1, 1.0), (2, 2.0), (3, 30.0)]
    entries = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(entry["step"], entry["loss"]) for entry in entries] == shown["training/loss"]


def test_groups_of_tensorboard_are_training_held_out_and_probe(tmp_path, board):
    metrics = Metrics(tmp_path, Collected())
    metrics.rewind(0)
    values = {"loss": 1.0, "bits_per_byte": 1.0, "bits_per_byte_code": 1.0, "probe_bits_per_byte_code": 1.0}
    metrics.record({"step": 1, **values}, "")
    metrics.close()
    assert set(scalars(tmp_path / "tensorboard")) == {
        "training/loss", "held out/bits_per_byte", "held out/bits_per_byte_code", "probe/bits_per_byte_code"
    }  # fmt: skip


def test_without_tensorboard_the_log_says_so_and_the_metrics_are_whole(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not installed
    reporter = Collected()
    metrics = Metrics(tmp_path, reporter)
    metrics.rewind(0)
    record(metrics, 1, 2.0)
    metrics.close()
    assert reporter.lines[0] == "no TensorBoard files: pip install tensorboard to have them; metrics.jsonl has all"
    assert metrics.entries() == [{"step": 1, "loss": 2.0, "recipe": "text"}]
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.parametrize(("step", "left"), [(100, ", 1 min 30 s left"), (990, ", 0 min 1 s left"), (1000, "")])
def test_a_step_says_how_long_the_rest_takes_at_its_speed(step, left):
    speeds = {"tokens_per_second": 2000.0, "tflops_per_second": 1.0}
    line = step_line({"step": step, "learning_rate": 1e-3, "num_tokens": step * 200, **speeds}, 1000)
    assert line.endswith(f"TFLOP/s{left}")
