"""The whole way from a checkpoint folder to files, with a real model and a real sandbox."""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from codeft_eval.__main__ import main
from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.generation.checkpoints import checkpoint_hash
from codeft_eval.sandbox.programs import Grade
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.phases import PhaseTimer
from codeft_eval.scoring.runs import replay, run_checkpoint
from codeft_eval.scoring.samples import read_samples
from codeft_eval.scoring.scores import read_score
from tests.eval.checkpoints import write_checkpoint

SHORT = replace(BENCHMARKS["embedded"], max_new_tokens=12)
FIVE = Options(limit=5, batch_size=2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint")


@pytest.fixture(scope="module")
def finished(checkpoint, tmp_path_factory):
    output = tmp_path_factory.mktemp("scores") / "embedded"
    return output, run_checkpoint(checkpoint, SHORT, output, FIVE)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_run_writes_a_score_with_its_uncertainty_and_all_samples(finished):
    output, score = finished
    assert read_score(output) == score
    assert (score.num_items, score.num_scored, score.num_unscored) == (5, 5, 0)
    assert score.num_items_total == len(load_items(SHORT))
    assert score.metrics["pass@1"].n == 5
    assert score.metrics["bits_per_byte"].value > 2
    samples = list(read_samples(output))
    items = load_items(SHORT)[:5]
    assert [sample["task_id"] for sample in samples] == [item.task_id for item in items]
    assert all({"prompt", "completion", "verdict", "stderr", "tier"} <= sample.keys() for sample in samples)
    assert score.tier in {sample["tier"] for sample in samples}


def test_bits_per_byte_is_the_models_own_likelihood_of_the_solution(checkpoint, finished):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(checkpoint), AutoTokenizer.from_pretrained(checkpoint)
    item = load_items(SHORT)[0]
    whole, prompt = tokenizer(item.prompt + item.solution)["input_ids"], tokenizer(item.prompt.rstrip())["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    expected = sum(logits[i - 1, whole[i]].item() for i in range(len(prompt), len(whole)))
    sample = next(iter(read_samples(finished[0])))
    assert sample["solution_bytes"] == len(item.solution.encode()) + 1  # the prompt's newline is scored with it
    assert sample["solution_log_likelihood"] == pytest.approx(expected, abs=1e-2)


def test_the_same_checkpoint_twice_gives_identical_files(checkpoint, finished, tmp_path):
    output, score = finished
    (tmp_path / "generations-0123456789abcdef.jsonl").write_text('{"kind": "comp')  # of an older version
    again = run_checkpoint(checkpoint, SHORT, tmp_path, FIVE)
    assert again.content_hash == score.content_hash
    for name in ("scores.json", "samples.jsonl"):
        assert digest(tmp_path / name) == digest(output / name)


SAMPLED = replace(FIVE, num_samples=3, temperature=0.8, top_p=0.9)


@pytest.mark.parametrize("options", [FIVE, SAMPLED], ids=["greedy", "sampled"])
def test_a_killed_run_resumes_with_the_same_result_and_generates_nothing_twice(checkpoint, tmp_path, options):
    score = run_checkpoint(checkpoint, SHORT, tmp_path / "undisturbed", options)
    output = tmp_path / "killed"

    class Killed(BaseException):
        pass

    def kill_in_the_second_batch(line):
        if line.startswith("completion: 4"):
            raise Killed

    with pytest.raises(Killed):
        run_checkpoint(checkpoint, SHORT, output, replace(options, log=kill_in_the_second_batch))
    assert not (output / "scores.json").exists()
    store = next(output.glob("generations-*.sqlite"))
    assert count_answers(store) == 4
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as file:
        file.execute("BEGIN IMMEDIATE")
        file.execute("INSERT INTO answers (kind, key, value) VALUES ('completion', 'task', '')")  # a kill in a write
    resumed = run_checkpoint(checkpoint, SHORT, output, options)
    assert resumed.content_hash == score.content_hash
    assert digest(output / "samples.jsonl") == digest(tmp_path / "undisturbed" / "samples.jsonl")
    assert count_answers(store) == 5 * options.num_samples + 5


def count_answers(store):
    """The number of answers in a store, none of which is there twice."""
    with contextlib.closing(sqlite3.connect(store)) as file:
        keys = file.execute("SELECT kind, key FROM answers").fetchall()
    assert len(keys) == len(set(keys))
    return len(keys)


@pytest.mark.slow
def test_a_process_killed_while_it_generates_is_gone_on_with_by_the_next(checkpoint, tmp_path):
    command = [sys.executable, "-m", "codeft_eval", "run", "--checkpoint", checkpoint, "--benchmark", "embedded"]
    command += ["--limit", "6", "--batch-size", "1", "--output", tmp_path / "killed"]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=surroundings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any(line.startswith("completion: 2 of 6") for line in lines)
    process.kill()
    assert process.wait() == -9
    process.stderr.close()
    assert not (tmp_path / "killed" / "scores.json").exists()
    subprocess.run(command, env=surroundings, check=True, capture_output=True)
    undisturbed = run_checkpoint(checkpoint, BENCHMARKS["embedded"], tmp_path / "whole", Options(limit=6, batch_size=1))
    assert read_score(tmp_path / "killed").content_hash == undisturbed.content_hash
    assert digest(tmp_path / "killed" / "samples.jsonl") == digest(tmp_path / "whole" / "samples.jsonl")
    assert count_answers(next((tmp_path / "killed").glob("generations-*.sqlite"))) == 12


def test_a_finished_run_asks_the_model_for_nothing(checkpoint, finished, monkeypatch):
    output, score = finished
    store = next(output.glob("generations-*.sqlite"))
    before = digest(store)
    assert run_checkpoint(checkpoint, SHORT, output, FIVE) == score
    assert digest(store) == before


def test_answers_of_another_checkpoint_are_never_found(finished, tmp_path):
    score = finished[1]
    other = write_checkpoint(tmp_path / "other", seed=1)
    shared = tmp_path / "shared"
    shutil.copytree(finished[0], shared)
    found = run_checkpoint(other, SHORT, shared, FIVE)
    assert len(list(shared.glob("generations-*.sqlite"))) == 2
    assert found.model_hash != score.model_hash
    assert found.metrics["bits_per_byte"] != score.metrics["bits_per_byte"]


@pytest.mark.parametrize("change", ["settings", "data", "version"])
def test_answers_under_another_protocol_are_never_found(checkpoint, finished, tmp_path, monkeypatch, change):
    shared = tmp_path / "shared"
    shutil.copytree(finished[0], shared)
    benchmark, options = SHORT, FIVE
    if change == "settings":
        options = replace(FIVE, batch_size=3)
    elif change == "version":
        benchmark = replace(SHORT, version=SHORT.version + 1)
    else:
        monkeypatch.setattr("codeft_eval.scoring.runs.data_sha256", lambda benchmark: "of other rows")
    run_checkpoint(checkpoint, benchmark, shared, options)
    assert len(list(shared.glob("generations-*.sqlite"))) == 2


def test_a_runs_time_is_split_into_its_parts(finished, monkeypatch):
    seconds = json.loads((finished[0] / "run.json").read_text())["seconds"]
    parts = ("generation", "likelihood", "awaiting_verdicts", "rest")
    assert seconds["total"] == pytest.approx(sum(seconds[part] for part in parts), abs=0.01)
    assert seconds["generation"] > 0
    assert seconds["likelihood"] > 0

    now = itertools.count(step=10.0)
    monkeypatch.setattr("codeft_eval.scoring.phases.time", SimpleNamespace(monotonic=lambda: next(now)))
    outcomes = [Grade(key="a", verdict="passed", reason="passed", isolation="t", cpu_seconds=2.0, wall_seconds=3.0)]
    timer = PhaseTimer()  # begins at 0
    with timer.phase("generation"):  # 10 to 20
        pass
    for _ in range(2):  # 30 to 40, 50 to 60
        with timer.phase("awaiting_verdicts"):
            pass
    assert timer.seconds(outcomes * 2) == {
        "total": 70.0, "generation": 10.0, "awaiting_verdicts": 20.0, "rest": 40.0, "programs_wall": 6.0,
        "programs_cpu": 4.0,
    }  # fmt: skip


def test_a_prompt_that_does_not_fit_is_unscored_and_not_truncated(checkpoint, tmp_path):
    from transformers import AutoTokenizer

    items = load_items(SHORT)[:5]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    lengths = sorted(len(tokenizer(item.prompt)["input_ids"]) for item in items)
    small_context = lengths[2] + 16
    small = write_checkpoint(tmp_path / "small", context_tokens=small_context)
    score = run_checkpoint(small, SHORT, tmp_path / "out", FIVE)
    assert score.num_unscored == 2
    assert score.unscored_reasons == {"prompt_too_long": score.num_unscored}
    assert score.num_scored + score.num_unscored == len(items)
    assert score.metrics["pass@1"].n == score.num_scored
    has_likelihood = [sample["solution_log_likelihood"] is not None for sample in read_samples(tmp_path / "out")]
    lengths = [len(tokenizer(item.prompt + item.solution)["input_ids"]) for item in items]
    assert has_likelihood == [length <= small_context for length in lengths]
    assert 0 < sum(has_likelihood) < 5
    assert score.metrics["bits_per_byte"].n == sum(has_likelihood)


def test_a_replay_of_canonical_and_wrong_completions_scores_exactly_those(tmp_path):
    items = load_items(SHORT)[:4]
    texts = [items[0].solution, "    return None\n", items[2].solution + "\ndef other():\n    pass", ""]
    file = tmp_path / "generations.jsonl"
    file.write_text(
        "".join(json.dumps({"task_id": i.task_id, "completion": t}) + "\n" for i, t in zip(items, texts, strict=True))
    )
    score = replay(file, SHORT, tmp_path / "out", Options(limit=4))
    assert (score.num_passed, score.num_scored) == (2, 4)
    samples = list(read_samples(tmp_path / "out"))
    assert [sample["verdict"] for sample in samples] == ["passed", "failed", "passed", "failed"]
    assert "def other" not in samples[2]["completion"]
    assert list(score.metrics) == ["pass@1"]


def test_a_replay_without_a_completion_for_an_item_is_refused(tmp_path):
    file = tmp_path / "generations.jsonl"
    file.write_text('{"task_id": "nope", "completion": ""}\n')
    with pytest.raises(ValueError, match="no completion for 2 items"):
        replay(file, SHORT, tmp_path / "out", Options(limit=2))
    file.write_text('{"id": 1}\n')
    with pytest.raises(ValueError, match="each needs task_id and completion"):
        replay(file, SHORT, tmp_path / "out", Options(limit=2))


def test_a_folder_that_is_no_checkpoint_is_refused_before_any_work(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json with \*\.safetensors"):
        run_checkpoint(tmp_path, SHORT, tmp_path / "out", FIVE)
    assert not (tmp_path / "out").exists()


def test_a_checkpoints_hash_changes_with_its_weights_only(checkpoint, tmp_path):
    assert checkpoint_hash(checkpoint) == checkpoint_hash(checkpoint)
    assert checkpoint_hash(checkpoint) != checkpoint_hash(write_checkpoint(tmp_path / "other", seed=1))


def test_a_score_changed_by_hand_is_refused(finished, tmp_path):
    document = json.loads((finished[0] / "scores.json").read_text())
    document["num_passed"] = 5
    (tmp_path / "scores.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="does not match its own content hash"):
        read_score(tmp_path)


@pytest.mark.slow
def test_the_command_line_runs_offline_and_reports_through_pipes(checkpoint, tmp_path):
    from dagster_pipes import PipesDefaultMessageWriter, encode_param

    messages = tmp_path / "messages"
    context = tmp_path / "context.json"
    context.write_text(json.dumps({
        "asset_keys": ["scores/embedded"], "code_version_by_asset_key": None, "provenance_by_asset_key": None,
        "partition_key": None, "partition_key_range": None, "partition_time_window": None, "run_id": "r",
        "job_name": None, "retry_number": 0, "extras": {},
    }))  # fmt: skip
    environment = os.environ | {
        "DAGSTER_PIPES_CONTEXT": encode_param({"path": str(context)}),
        "DAGSTER_PIPES_MESSAGES": encode_param({PipesDefaultMessageWriter.FILE_PATH_KEY: str(messages)}),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path.cwd()),
        "GIT_CEILING_DIRECTORIES": str(tmp_path.parent),
    }
    command = [sys.executable, "-m", "codeft_eval", "run", "--checkpoint", checkpoint, "--benchmark", "embedded"]
    command += ["--limit", "2", "--output", tmp_path / "out"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)  # no repository
    assert (done.returncode, done.stderr) == (0, ""), "a line of ours goes to Dagster, and a library says nothing"
    assert "embedded pass@1" in done.stdout
    sent = [json.loads(line) for line in messages.read_text().splitlines()]
    methods = [message["method"] for message in sent]
    assert methods.count("report_asset_materialization") == 1
    assert methods.count("log") >= 3
    parameters = next(m["params"] for m in sent if m["method"] == "report_asset_materialization")
    assert parameters["data_version"] == read_score(tmp_path / "out").content_hash
    metadata = parameters["metadata"]
    assert metadata["samples"]["type"] == "md"
    assert metadata["path"]["type"] == "path"
    assert isinstance(metadata["bits_per_byte"]["raw_value"], float)


def test_the_scoreboard_command_writes_all_files(finished, tmp_path, capsys):
    command = ["scoreboard", "--scores", str(finished[0]), "--num-tokens", "1000", "--output", str(tmp_path)]
    assert main(command) == 0
    assert "no ratio: pass@1 rests on 5 items here and 44 there" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "history", "samples.html", "scoreboard.html", "scoreboard.json", "scoreboard.md", "scoreboard.svg",
    ]  # fmt: skip


def test_the_check_command_fails_for_what_is_unexpected(tmp_path, capsys):
    assert main(["check", "--benchmark", "embedded", "--limit", "3", "--output", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "check.json").read_text())["passed"] is True


def test_the_reference_command_prints_figures_with_their_sources(capsys):
    assert main(["reference"]) == 0
    assert "arXiv 2409.12186" in capsys.readouterr().out


def test_what_the_user_can_fix_is_said_without_a_traceback(tmp_path, capsys):
    assert main(["run", "--checkpoint", str(tmp_path), "--benchmark", "embedded", "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err.strip().endswith("give one that save_pretrained wrote")
