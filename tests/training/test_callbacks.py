"""Both engines call the same hooks at the same steps, and what a callback raises or requests is honored by both."""

import json

import pytest
import torch

from codeft_assets.base.files import file_hash
from codeft_training.model.distributed import DistributedContext
from codeft_training.run_spec import Stopped
from codeft_training.train.callbacks.callback import Callback, CallbackList
from codeft_training.train.finetune import Finetuner
from codeft_training.train.run import build_pretrainer, initial_model, train
from tests.training.children import Bombs, Collected, finetuning_run, training_run

ALONE = DistributedContext(0, 1, torch.device("cpu"))
LENGTH = {"max_steps": 4, "log_every_steps": 2}


class Recorder(Callback):
    """Records hooks and steps, saves after step 2 and, if wanted, stops there."""

    def __init__(self, *, stops=False):
        self.calls, self.engine, self._stops = [], None, stops

    def on_train_begin(self, engine):
        self.engine = engine
        self.calls.append(("train begin", engine.step))

    def on_log(self, engine, log):
        assert log.num_steps == 2
        assert log.loss > 0
        assert log.seconds > 0
        self.calls.append(("log", engine.step))

    def on_step_end(self, engine):
        self.calls.append(("step end", engine.step))
        if engine.step == 2:
            engine.save()
            if self._stops:
                engine.stop()

    def on_save(self, engine):
        self.calls.append(("save", engine.step))

    def on_train_end(self, engine):
        self.calls.append(("train end", engine.step))


@pytest.fixture(scope="module")
def base(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("base")
    train(training_run(made, output, max_steps=2), Collected())
    return output / "checkpoint"


@pytest.fixture(params=["pretraining", "fine-tuning"])
def run_engine(request, made, base, tmp_path):
    """Return a function that trains with a callback by one of the engines."""
    if request.param == "pretraining":
        run = training_run(made, tmp_path, **LENGTH)
    else:
        run = finetuning_run(made, base, tmp_path, **LENGTH)
    run.work.mkdir(parents=True)

    def train_with(callback):
        callbacks = CallbackList([callback])
        if request.param == "pretraining":
            return build_pretrainer(run, callbacks, ALONE).train()
        finetuner = Finetuner(run.recipe, run.packed, tokenizer=run.tokenizer, folder=run.work, callbacks=callbacks)
        return finetuner.train(lambda: initial_model(run.recipe))

    return train_with


def test_hooks_are_called_at_the_same_steps_and_a_resumed_run_goes_on_after_its_checkpoint(run_engine):
    stopped, resumed = Recorder(stops=True), Recorder()
    with pytest.raises(Stopped, match="stopped at step 2 of 4"):
        run_engine(stopped)
    calls = [call for call in stopped.calls if call[0] != "train end"]  # TRL's trainer ends either way
    assert sorted(calls) == [("log", 2), ("save", 2), ("step end", 1), ("step end", 2), ("train begin", 0)]
    run_engine(resumed)
    assert sorted(resumed.calls) == [
        ("log", 4), ("step end", 3), ("step end", 4), ("train begin", 2), ("train end", 4)
    ]  # fmt: skip
    assert (resumed.engine.step, resumed.engine.last_step) == (4, 4)


def test_an_error_before_a_checkpoint_counts_keeps_it_from_counting(run_engine):
    class Refuses(Recorder):
        def on_save(self, engine):
            raise FloatingPointError("not this one")

    with pytest.raises(FloatingPointError, match="not this one"):
        run_engine(Refuses())
    resumed = Recorder()
    run_engine(resumed)
    assert resumed.calls[0] == ("train begin", 0)


@pytest.mark.parametrize("engine", ["pretraining", "fine-tuning"])
def test_the_time_of_a_run_counts_the_processes_before(made, base, tmp_path, engine):
    run = training_run(made, tmp_path) if engine == "pretraining" else finetuning_run(made, base, tmp_path)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run, Bombs(7, interrupt))
    state = "state.json" if engine == "pretraining" else "trainer_state.json"
    path = run.work / "checkpoint-6" / state
    record = json.loads(path.read_text())
    saved = record if engine == "pretraining" else record["stateful_callbacks"]["TrlAdapter"]["attributes"]
    saved["seconds"] += 1000
    path.write_text(json.dumps(record))
    marker = run.work / "checkpoint-6" / "COMPLETE.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {state: file_hash(path)}))
    assert 1000 < train(run, Collected())["seconds"] < 1100
