"""Training: killed at any moment it ends in the same weights; incomplete, damaged and not finite states are refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from codeft_training.recipes import find_recipe
from codeft_training.train.checkpoints import MARKER, is_valid, latest_valid, mark_complete
from codeft_training.train.inputs import check_inputs
from tests import patience
from tests.training.children import finetuning_run, training_run

ROOT = Path(__file__).parents[2]
TINY = {
    "vocab_size": 320,
    "context_tokens": 64,
    "hidden_size": 32,
    "num_layers": 1,
    "num_heads": 2,
    "num_kv_heads": 1,
    "intermediate_size": 48,
    "batch_rows": 4,
    "max_steps": 12,
    "save_every_steps": 3,
    "validate_every_steps": 6,
    "log_every_steps": 1,
    "validation_rows": 64,
}


def command(made, output, **changes):
    values = TINY | changes
    return [
        *(sys.executable, "-m", "codeft_training", "train", "--packed", str(made / "packed")),
        *("--tokenizer", str(made / "tokenizer"), "--output", str(output), "--recipe", "smoke"),
        *(part for field, value in values.items() for part in ("--set", f"{field}={value}")),
    ]


def run(made, output, **changes):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        command(made, output, **changes), capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )


def kill_at_step(made, output, step, sign, **changes):
    """Start training and send ``sign`` as soon as the log reports ``step``; return exit code and log."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        command(made, output, **changes), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT,
        env=environment,
    )  # fmt: skip
    watchdog = threading.Timer(patience.SECONDS, process.kill)
    watchdog.start()
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(f"step {step}/"):
            process.send_signal(sign)
    watchdog.cancel()
    return process.wait(), "".join(lines)


@pytest.fixture(scope="module")
def undisturbed(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("undisturbed")
    done = run(made, output)
    assert done.returncode == 0, done.stderr[-3000:]
    return output


def result(output):
    return json.loads((output / "result.json").read_text())


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_weights_of_an_undisturbed_one(made, undisturbed, tmp_path):
    code, log = kill_at_step(made, tmp_path, 8, signal.SIGKILL)
    assert code == -signal.SIGKILL, log
    assert not (tmp_path / "result.json").exists()
    done = run(made, tmp_path)
    assert "resuming from checkpoint-" in done.stderr
    assert result(tmp_path)["weights_hash"] == result(undisturbed)["weights_hash"]
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in metrics if "loss" in entry] == list(range(1, 13))  # no step twice, none missing


@pytest.mark.slow
def test_sigterm_saves_and_exits_143_and_the_next_run_goes_on(made, undisturbed, tmp_path):
    code, log = kill_at_step(made, tmp_path, 5, signal.SIGTERM)
    assert code == 143, log
    assert "the state is saved" in log
    done = run(made, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert result(tmp_path)["weights_hash"] == result(undisturbed)["weights_hash"]


@pytest.mark.slow
def test_a_finished_run_is_not_run_again(made, undisturbed):
    before = (undisturbed / "checkpoint" / "model.safetensors").stat().st_mtime_ns
    done = run(made, undisturbed)
    assert done.returncode == 0
    assert "nothing to do" in done.stderr
    assert (undisturbed / "checkpoint" / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.slow
def test_the_checkpoint_loads_generates_and_carries_its_lineage(undisturbed):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = undisturbed / "checkpoint"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    inputs = tokenizer("def add(a, b):\n", return_tensors="pt")
    assert model.generate(**inputs, max_new_tokens=3, do_sample=False).shape[1] == inputs["input_ids"].shape[1] + 3
    assert tokenizer.chat_template
    card = (folder / "README.md").read_text()
    assert result(undisturbed)["corpus_content_hash"] in card
    assert result(undisturbed)["recipe_hash"] in card


@pytest.mark.slow
def test_the_loss_falls_and_held_out_bits_are_reported_by_domain(undisturbed):
    found = result(undisturbed)
    assert found["final_loss"] < found["first_loss"]
    assert {"bits_per_byte", "bits_per_byte_code", "bits_per_byte_reasoning"} <= set(found["validation"])


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run(made, tmp_path):
    done = run(made, tmp_path, learning_rate="1e30", max_grad_norm="1e30", warmup_fraction="0", weight_decay="0")
    assert done.returncode == 1
    assert "not finite; lower learning_rate" in done.stderr
    assert not (tmp_path / "result.json").exists()


def test_rows_of_another_length_are_refused(made, tmp_path):
    done = run(made, tmp_path, context_tokens=32)
    assert done.returncode == 1
    assert "rows were packed at 64 tokens, recipe 'smoke' wants 32" in done.stderr


def two_checkpoints(tmp_path):
    for step in (3, 6):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"):
            (folder / name).write_text(f"{name} of {step}")
        mark_complete(folder)
    return tmp_path


@pytest.mark.parametrize("damage", ["missing optimizer", "changed weights", "no marker"])
def test_an_incomplete_checkpoint_does_not_exist(tmp_path, damage):
    folder = two_checkpoints(tmp_path) / "checkpoint-6"
    if damage == "missing optimizer":
        (folder / "optimizer.pt").unlink()
    elif damage == "changed weights":
        (folder / "model.safetensors").write_text("half of it")
    else:
        (folder / MARKER).unlink()
    assert not is_valid(folder)
    assert latest_valid(tmp_path) == tmp_path / "checkpoint-3"
    assert not folder.exists()


def test_a_checkpoint_that_lacks_a_file_is_not_marked(tmp_path):
    folder = two_checkpoints(tmp_path) / "checkpoint-6"
    (folder / "scheduler.pt").unlink()
    with pytest.raises(ValueError, match="lacks \\['scheduler.pt'\\]"):
        mark_complete(folder)


def test_without_a_checkpoint_there_is_none_to_resume(tmp_path):
    assert latest_valid(tmp_path) is None


def test_the_work_of_another_recipe_is_not_resumed(made, tmp_path):
    from codeft_training.data.packed_rows import PackedRows
    from codeft_training.run_spec import TrainingRun

    runs = [
        TrainingRun(
            packed=PackedRows(made / "packed"),
            tokenizer=made / "tokenizer",
            output=tmp_path,
            recipe=find_recipe("smoke", {"seed": str(seed)}),
            lineage={},
        )
        for seed in (1, 2)
    ]
    assert runs[0].work != runs[1].work
    shutil.rmtree(tmp_path)


def test_a_run_that_does_not_fit_on_the_disk_is_refused_before_it_begins(made, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(
        OSError, match=r"has 1,000 bytes free, the run needs about [\d,]+: .* parameters, .*; free space first"
    ):
        check_inputs(training_run(made, tmp_path))


def test_fine_tuning_by_several_processes_is_refused(made, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="fine-tuned by one process; leave --processes and --nodes at 1"):
        check_inputs(finetuning_run(made, "a-model", tmp_path))
