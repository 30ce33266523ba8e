"""A run whose process was killed is ended; one that runs, or runs elsewhere, is not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from codeft_assets.defs.automation.lost_runs import end_lost_runs
from codeft_assets.defs.process import TAG, is_gone, process_name

ROOT = Path(__file__).parents[2]
STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@dg.asset
def table():
    """Nothing."""


def started(instance, name):
    job = dg.Definitions(assets=[table]).resolve_implicit_global_asset_job_def()
    return instance.create_run_for_job(job, status=STARTED, tags={TAG: name} if name else {}).run_id


@pytest.fixture
def killed():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = process_name(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return name


def test_the_run_of_a_killed_process_is_ended_and_no_other(instance, killed):
    lost, running = started(instance, killed), started(instance, process_name())
    elsewhere, unnamed = started(instance, killed.replace("/", "-elsewhere/", 1)), started(instance, "")
    assert list(end_lost_runs(instance)) == [lost]
    statuses = {run.run_id: run.status for run in instance.get_runs()}
    assert statuses.pop(lost) is dg.DagsterRunStatus.FAILURE
    assert statuses == dict.fromkeys([running, elsewhere, unnamed], STARTED)


def test_another_process_with_the_same_id_is_another_process():
    host, pid, boot, ticks = process_name().split("/")
    assert not is_gone(process_name())
    assert is_gone(f"{host}/{pid}/{boot}/{int(ticks) - 1}")
    assert is_gone(f"{host}/{pid}/another-boot/{ticks}")


@pytest.mark.slow
def test_a_run_that_was_killed_on_the_command_line_is_found(tmp_path):
    home = tmp_path / "dagster"
    home.mkdir()
    environment = os.environ | {"DAGSTER_HOME": str(home), "CODEFT_HOME": str(tmp_path / "data")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "codeft_assets.definitions"]
    command += ["--select", "documents/exercises-composed"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for line in process.stderr:
        if "STEP_START" in line:
            process.kill()
            break
    process.wait()
    process.stderr.close()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        [run] = instance.get_runs()
        assert run.status is STARTED
        assert list(end_lost_runs(instance)) == [run.run_id]


def test_a_replaced_code_server_has_the_name_of_the_one_before():
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    assert {name: services[name]["hostname"] for name in ("code-server", "gpu-worker")} == {
        "code-server": "code-server",
        "gpu-worker": "gpu-worker",
    }
