"""A real daemon against a local Hub: a change re-runs its source and, once, what is below; no change runs nothing."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import pytest

from tests import patience
from tests.hub.server import HubServer, seed_samples

ROOT = Path(__file__).parents[2]
TICK_SECONDS = 3
STAGES = {
    "quality/signals",
    "quality/scores",
    "dedup/signatures",
    "dedup/clusters",
    "decontamination/matches",
    "corpus/mixture_plan",
    "corpus/ledger",
    "corpus/mixture",
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * patience.SECONDS)]


class Daemon:
    """``dagster-daemon`` in a process of its own, and the instance it works on."""

    def __init__(self, folder, hub):
        self.home = folder / "dagster"
        self.home.mkdir()
        # everything else of the instance is what a user has
        text = (ROOT / "codeft_assets" / "dagster.yaml").read_text()
        (self.home / "dagster.yaml").write_text(text)
        self.environment = os.environ | {
            "DAGSTER_HOME": str(self.home),
            "CODEFT_HOME": str(folder / "data"),
            "CODEFT_PROFILE": "full",
            "CODEFT_WORKERS": "1",
            "CODEFT_POLL_SECONDS": str(TICK_SECONDS),
            "CODEFT_QUIET_SECONDS": str(3 * TICK_SECONDS),
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(folder / "hf"),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
        }
        self.process = None

    def materialize(self, select):
        command = [sys.executable, "-m", "dagster", "asset", "materialize", "--select", select]
        command += ["-m", "tests.automation.location"]
        done = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    def start(self):
        command = [sys.executable, "-m", "dagster._daemon", "run", "-m", "tests.automation.location"]
        log = (self.home / "daemon.log").open("w")
        self.process = subprocess.Popen(command, env=self.environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def instance(self):
        return dg.DagsterInstance.from_config(str(self.home))


def wait_until(claim, what):
    """Look twice a second until ``claim`` holds."""
    pause = threading.Event()
    for _ in range(2 * patience.SECONDS):
        if claim():
            return
        pause.wait(0.5)
    raise AssertionError(f"not within {patience.SECONDS} s: {what}")


def num_ticks(instance):
    """Return how often the upstream sensor has looked."""
    return sum(
        len(instance.get_ticks(state.instigator_origin_id, state.selector_id))
        for state in instance.all_instigator_state()
        if state.instigator_name == "upstream_sensor"
    )


def materialized(instance, run_ids):
    keys = []
    for run_id in run_ids:
        entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        keys += [entry.asset_materialization.asset_key.to_user_string() for entry in entries]
    return keys


def runs(instance):
    return {run.run_id: run for run in instance.get_runs()}


@pytest.fixture(scope="module")
def served():
    with HubServer() as hub:
        seed_samples(hub)
        for repo in hub.repos.values():  # the samples' last rows are bad on purpose, more than the full profile bears
            for files in repo.commits.values():
                files.update({path: b"".join(content.splitlines(True)[:10]) for path, content in files.items()})
        yield hub


@pytest.fixture(scope="module")
def daemon(served, tmp_path_factory):
    running = Daemon(tmp_path_factory.mktemp("daemon"), served)
    groups = " or ".join(f"group:{name}" for name in ("sources", "quality", "dedup", "decontamination"))
    running.materialize(f'{groups} or key:"corpus/mixture_plan" or key:"corpus/ledger" or key:"corpus/mixture"')
    running.start()
    yield running
    running.stop()
    shutil.rmtree(running.home, ignore_errors=True)


def test_only_a_change_runs_anything_and_it_runs_once(daemon, served):
    with daemon.instance() as instance:
        before = set(runs(instance))
        wait_until(lambda: num_ticks(instance) >= 2, "two observation ticks")
        assert set(runs(instance)) == before  # also not at the daemon's first look after a command-line run

        served.commit("GAIR/o1-journey", {"README.md": "edited"})
        looked = num_ticks(instance)
        wait_until(lambda: num_ticks(instance) >= looked + 2, "two ticks after an edited README")
        assert set(runs(instance)) == before

        repo = served.repos["GAIR/o1-journey"]
        lines = repo.commits[repo.head]["data/train.jsonl"].decode().splitlines()
        row = json.loads(lines[0]) | {"question": "How many legs do three spiders have?", "answer": "24"}
        served.commit("GAIR/o1-journey", {"data/train.jsonl": "\n".join([*lines, json.dumps(row)]) + "\n"})

        def settled():
            new = [run for run_id, run in runs(instance).items() if run_id not in before]
            keys = materialized(instance, [run.run_id for run in new])
            return "corpus/mixture" in keys and all(run.is_finished for run in new)

        wait_until(settled, f"the corpus after a change: {(daemon.home / 'daemon.log').read_text()[-2000:]}")
        looked = num_ticks(instance)
        wait_until(lambda: num_ticks(instance) >= looked + 2, "two more ticks")
        after = {run_id: run for run_id, run in runs(instance).items() if run_id not in before}
        assert all(run.is_success for run in after.values())
        assert sorted(materialized(instance, after)) == sorted(["documents/o1-journey", *STAGES])
