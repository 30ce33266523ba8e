"""A data root, a Dagster home and a local Hub to break things in; and what an undisturbed run leaves."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from codeft_assets.store.data_root import Store
from tests.hub.server import HubServer, seed_samples

ROOT = Path(__file__).parents[2]
LOCATION = "tests.automation.location"
GROUPS = " or ".join(f"group:{name}" for name in ("sources", "quality", "dedup", "decontamination"))
LEDGER = 'key:"corpus/mixture_plan" or key:"corpus/ledger" or key:"corpus/mixture"'
EVERYTHING = f"{GROUPS} or {LEDGER}"
SCORED = 'key:"quality/signals" or key:"quality/scores"'
CORPUS = f'group:sources or {SCORED} or group:dedup or key:"decontamination/matches" or {LEDGER}'
"""Without the classifier, which is trained anew in every run that asks for it."""
KEPT = ("quality/annotations", "decontamination/held_out", "decontamination/benchmark_texts")
STAGES = (
    *("documents__o1_journey", "quality__signals", "quality__scores", "dedup__signatures", "dedup__clusters"),
    *("decontamination__matches", "corpus__mixture_plan", "corpus__ledger", "corpus__mixture"),
)
TIMEOUT_SECONDS = 600


def serve():
    """Return a Hub with ten rows of every sample: the samples' last rows are bad on purpose."""
    hub = HubServer().__enter__()
    seed_samples(hub)
    for repo in hub.repos.values():
        for files in repo.commits.values():
            files.update({path: b"".join(content.splitlines(True)[:10]) for path, content in files.items()})
    return hub


class World:
    """One data root and one Dagster home."""

    def __init__(self, folder, hub, *, copy_of=None, begin_from=None):
        self.folder, self.hub = Path(folder), hub
        self.data, self.home = self.folder / "data", self.folder / "dagster"
        if copy_of is not None:
            shutil.copytree(copy_of.data, self.data, copy_function=shutil.copy)
        if begin_from is not None:  # the classifier and the benchmarks, and nothing else
            shutil.copytree(begin_from.data / "files", self.data / "files")
            for key in KEPT:
                shutil.copytree(begin_from.data / "tables" / key, self.data / "tables" / key)
        self.data.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "codeft_assets" / "dagster.yaml", self.home / "dagster.yaml")
        self.environment = os.environ | {
            "DAGSTER_HOME": str(self.home),
            "CODEFT_HOME": str(self.data),
            "CODEFT_PROFILE": "full",
            "CODEFT_WORKERS": "1",
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(self.folder / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "OMP_NUM_THREADS": "1",
        }

    @property
    def store(self):
        return Store(str(self.data))

    def table(self, key):
        return self.store.table(key)

    def hashes(self):
        return {table.key: table.manifest().content_hash for table in self.store.tables()}

    def start(self, *arguments, command=("-m", "dagster", "asset", "materialize", "-m", LOCATION), **environment):
        """Start a run; its log is a file, which orphans that still hold it open cannot keep from ending."""
        log = tempfile.NamedTemporaryFile(dir=self.folder, suffix=".log", delete=False)  # noqa: SIM115  Popen holds it
        process = subprocess.Popen(
            [sys.executable, *command, *arguments],
            env=self.environment | environment,
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        return process, Path(log.name)

    def run(self, select=CORPUS, *, when="", do=None, config=None, **environment):
        """Materialize ``select``; once a log line holds ``when``, call ``do(process)``. Return exit code and log."""
        arguments = ["--select", select]
        if config:
            arguments += ["--config-json", json.dumps(config)]
        return follow(self.start(*arguments, **environment), when, do)

    def forget(self, *keys):
        """Delete tables, as if they had never been made."""
        for key in keys:
            shutil.rmtree(self.data / "tables" / key, ignore_errors=True)


def follow(started, when="", do=None):
    """Read a process's log to the process's end and return exit code and log."""
    process, path = started
    ends, pause = time.monotonic() + TIMEOUT_SECONDS, threading.Event()
    while process.poll() is None:
        if when and when in path.read_text(errors="replace"):
            do(process)
            when = ""
        if time.monotonic() > ends:
            os.killpg(process.pid, signal.SIGKILL)
        pause.wait(0.02)
    return process.returncode, path.read_text(errors="replace")


def kill(process):
    """End a process without a word."""
    process.send_signal(signal.SIGKILL)


def error_of(log):
    """Return the line of a log that says what went wrong and what to do."""
    said = re.findall(
        r"^(?:[\w.]+(?:Error|Failure)): (.*)$|_FAILURE - .* failed\..*\n\n(?:[\w.]+: )?(.*)$", log, re.MULTILINE
    )
    said = [first or second for first, second in said]
    ours = [line for line in said if not line.startswith("Error occurred while executing")]
    return (ours or said or ["no error"])[-1]


def wait_until(claim, seconds=TIMEOUT_SECONDS):
    """Look five times a second until ``claim`` holds, and return whether it does."""
    ends = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < ends:
        if claim():
            return True
        pause.wait(0.2)
    return False


class NotRecovered(AssertionError):  # noqa: N818  an outcome
    """After the fault, something was lost or wrong."""


def require(claim, what):
    if not claim:
        raise NotRecovered(what)
