"""Secrets planted in the stack of tests/docker/stack.py, uses of them that fail, and the search for them afterwards."""

import contextlib
import os
import secrets
import subprocess
import threading
from pathlib import Path

from tests import patience
from tests.hub.server import plain_server

SECRETS = ("CODEFT_POSTGRES_PASSWORD", "HF_TOKEN", "JINA_API_KEY", "CODEFT_ANNOTATOR_KEY", "CODEFT_ALERT_WEBHOOK")
POSTGRES_BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
TICKS = """query($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
  ... on Sensor { sensorState { ticks(limit: 1) { status error { errorChain { error { message } } } } } } } }"""
ALERTS = {"repositoryLocationName": "codeft", "repositoryName": "__repository__", "sensorName": "alerts"}


class Planted:
    """One token a secret, in a file as Docker mounts it; and the address of a service that says them back."""

    def __init__(self, folder):
        self.folder, self.tokens = folder / "secrets", {name: secrets.token_hex(16) for name in SECRETS}
        self.folder.mkdir()

    def path(self, name):
        return self.folder / name

    @contextlib.contextmanager
    def service(self):
        """Serve an endpoint that refuses every key, and repeats it, and a webhook that fails; write all files."""
        spoken = " ".join(self.tokens.values()).encode()
        with plain_server(lambda path, _: (401 if "chat" in path else 500, {}, spoken)) as (address, seen):
            self.address, self.seen = address, seen
            for name, token in self.tokens.items():
                webhook = f"{address}/{token}" if name == "CODEFT_ALERT_WEBHOOK" else token
                self.path(name).write_text(webhook)
            yield self

    def environment(self, given):
        """Return NAME_FILE for each secret that the service is given."""
        names = [name for name in SECRETS if name in given or f"{name}_FILE" in given]
        return {f"{name}_FILE": str(self.path(name)) for name in names}


def misuse(stack):
    """Let a run fail that sends a key, and the alert about it; return the run's id and what the failed alert says."""
    pause = threading.Event()

    def tick():
        found = stack.post(TICKS, selector=ALERTS)["data"]["sensorOrError"]["sensorState"]["ticks"]
        return found[0] if found else {"status": ""}

    def wait_for(status):
        for _ in range(patience.SECONDS):
            if tick()["status"] == status:
                return
            pause.wait(1)
        raise AssertionError(f"no tick of the sensor alerts was {status}: {tick()}")

    wait_for("SKIPPED")  # its first look: alerts begin there
    asked = {"annotator": "endpoint", "model": "m", "endpoint": f"{stack.planted.address}/v1", "num_documents": 2}
    config = {"ops": {"quality__annotations": {"config": asked}}}
    run_id = stack.launch(["quality/annotations"], config=config)["run"]["runId"]
    assert stack.finish(run_id, patience.SECONDS) == "FAILURE", "a refused key was no error"
    keys = [headers.get("Authorization") for path, headers in stack.planted.seen if "chat" in path]
    assert f"Bearer {stack.planted.tokens['CODEFT_ANNOTATOR_KEY']}" in keys, "the key was not sent"
    wait_for("FAILURE")
    return run_id, tick()["error"]["errorChain"][-1]["error"]["message"].strip()


def where_seen(stack, texts):
    """Return where the texts stand: files, process arguments, PostgreSQL's log, and a dump of its database."""
    files = [path for path in stack.folder.rglob("*") if path.is_file() and stack.planted.folder not in path.parents]
    arguments = list(Path("/proc").glob("[0-9]*/cmdline"))
    found = [
        (str(path), text)
        for path in [*files, stack.database / "log", *arguments]
        for text in texts
        if text.encode() in _bytes(path)
    ]
    content = dump(stack)
    return found + [("the database", text) for text in texts if text in content]


def dump(stack):
    """Return all of the database as SQL: runs, their configurations, events, ticks, cursors."""
    where = ["-h", "127.0.0.1", "-p", str(stack.ports["postgres"]), "-U", "codeft", "codeft"]
    environment = os.environ | {"PGPASSWORD": stack.planted.tokens["CODEFT_POSTGRES_PASSWORD"]}
    done = subprocess.run([POSTGRES_BIN / "pg_dump", *where], env=environment, capture_output=True, check=True)
    return done.stdout.decode()


def _bytes(path):
    with contextlib.suppress(OSError):  # a process that ended
        return path.read_bytes()
    return b""


def report(stack, run_id):
    """Return whether no secret is seen anywhere, and a line that says where was looked."""
    names = {token: name for name, token in stack.planted.tokens.items()}
    seen = [(names[text], place) for place, text in where_seen(stack, names)]
    said = (
        f"{len(names)} planted secrets in files, logs, process arguments, and {len(dump(stack)):,} characters of dump"
    )
    places = sorted({place for place, _ in where_seen(stack, [run_id])})
    if "the database" not in places or not any("compute_logs" in place for place in places):
        return False, f"{said}: the search is blind, as it finds the failed run's id in {places} only"
    return not seen, f"{said}: {seen or 'seen nowhere'}"
