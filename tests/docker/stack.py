"""The processes of docker/compose.yaml without an engine, over a PostgreSQL of Debian's: same commands, same settings.

``python tests/docker/stack.py`` runs the whole pipeline on them, down to the scoreboard, and takes pictures.
What differs from the containers is read off compose.yaml and replaced: host names, ports, and the volume's path.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

import yaml

from tests import patience
from tests.docker.planted import POSTGRES_BIN, Planted, misuse, report
from tests.webui.server import ROOT, browser_page, free_port, wait_until_served

DOCKER = ROOT / "docker"
BIN = Path(sys.executable).parent
PASSWORD = "CODEFT_POSTGRES_PASSWORD"
PROCESSES = ("code-server", "webserver", "webserver-readonly", "daemon")
LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
RUN_SECONDS = 4 * 3600
"""A busy machine is slow: its training was once at 640 of 1,400 steps after 2,400 s."""


class Stack:
    """Where the processes listen, and how to talk to them."""

    def __init__(self, folder, planted):
        self.folder, self.planted = folder, planted
        self.ports = {name: free_port() for name in ("postgres", *PROCESSES)}
        self.running = {}
        self.home, self.data = folder / "dagster", folder / "data"
        for path in (self.home, self.data):
            path.mkdir()
        (self.home / "dagster.yaml").write_text((DOCKER / "dagster.yaml").read_text())
        workspace = (DOCKER / "workspace.yaml").read_text()
        (self.home / "workspace.yaml").write_text(workspace.replace("4000", str(self.ports["code-server"])))
        self.services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]

    def url(self, name="webserver"):
        return f"http://127.0.0.1:{self.ports[name]}"

    def environment(self, name):
        """Return what compose.yaml gives the service, with its hosts and paths on this machine."""
        given = {key: _interpolated(str(value)) for key, value in self.services[name]["environment"].items()}
        return os.environ | given | self.planted.environment(given) | {
            "CODEFT_POSTGRES_HOST": "127.0.0.1",
            "CODEFT_POSTGRES_PORT": str(self.ports["postgres"]),
            "CODEFT_CODE_SERVER": "127.0.0.1",
            "CODEFT_LOGS": str(self.data / "logs"),
            "DAGSTER_HOME": str(self.home),
            "CODEFT_HOME": str(self.data),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }  # fmt: skip

    def command(self, name):
        """Return the service's command: compose.yaml's, else its image's."""
        service = self.services[name]
        words = service.get("command") or image_command(_interpolated(service["build"]["target"]))
        swaps = {
            "0.0.0.0": "127.0.0.1",
            "3000": str(self.ports.get(name)),
            "4000": str(self.ports["code-server"]),
            "/opt/dagster/workspace.yaml": str(self.home / "workspace.yaml"),
        }
        return [str(DOCKER / "entrypoint.sh"), *(swaps.get(word, word) for word in words)]

    def start(self, name):
        log = (self.folder / f"{name}.log").open("a")
        self.running[name] = subprocess.Popen(
            self.command(name), env=self.environment(name), cwd=self.folder, stdout=log, stderr=log,
            preexec_fn=_default_signals,
        )  # fmt: skip

    def is_healthy(self, name):
        """Run the health check that compose.yaml or the image declares."""
        service = self.services[name]
        if "healthcheck" in service:
            words = service["healthcheck"]["test"][1:]
        else:
            words = image_command(_interpolated(service["build"]["target"]), "HEALTHCHECK")
        swaps = {"4000": str(self.ports["code-server"])}
        words = [swaps.get(word, word).replace("127.0.0.1:3000", f"127.0.0.1:{self.ports[name]}") for word in words]
        password = self.planted.tokens[PASSWORD]
        environment = self.environment(name) | {PASSWORD: password}
        return subprocess.run(words, env=environment, capture_output=True, check=False).returncode == 0

    def post(self, query, *, name="webserver", **variables):
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url(name)}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=patience.SECONDS) as answer:
            return json.load(answer)

    def launch(self, assets=None, *, job="__ASSET_JOB", name="webserver", config=None):
        """Ask the web server for a run, as the button Materialize does; return GraphQL's answer."""
        selector = {"repositoryLocationName": "codeft", "repositoryName": "__repository__", "jobName": job}
        if assets is not None:
            selector |= {"assetSelection": [{"path": key.split("/")} for key in assets], "assetCheckSelection": []}
        params = {"selector": selector, "mode": "default", "runConfigData": json.dumps(config or {})}
        return self.post(LAUNCH, name=name, params=params)["data"]["launchRun"]

    def finish(self, run_id, seconds):
        """Return the run's last status, at the latest after ``seconds``."""
        pause, status = threading.Event(), ""
        for _ in range(seconds):
            status = self.post(STATUS, id=run_id)["data"]["runOrError"]["status"]
            if status in ENDED:
                break
            pause.wait(1)
        return status

    def stop(self):
        for process in reversed(self.running.values()):
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def image_command(target, instruction="CMD"):
    """Return the words of the stage's last CMD, or of its HEALTHCHECK's."""
    stage = (DOCKER / "Dockerfile").read_text().split(f" AS {target}\n")[1].split("\nFROM ")[0].replace("\\\n", " ")
    (line,) = [line for line in stage.splitlines() if line.startswith(instruction)]
    return json.loads(line[line.index("[") :])


def _interpolated(text):
    """Replace ``${NAME:-default}`` as compose does."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: os.environ.get(found[1]) or found[2], text)


def _default_signals():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _as_postgres(*command):
    # PostgreSQL refuses to run as root
    prefix = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if os.getuid() == 0 else []
    return subprocess.run([*prefix, *map(str, command)], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def postgres(port, password_file):
    """Run a PostgreSQL with the database ``codeft``, a password and TCP on the loopback interface; yield its folder."""
    place = Path(tempfile.mkdtemp(prefix="codeft-postgres-"))
    if os.getuid() == 0:
        shutil.chown(place, "postgres", "postgres")
    secret = place / "password"
    secret.write_text(password_file.read_text())
    if os.getuid() == 0:
        shutil.chown(secret, "postgres", "postgres")
    _as_postgres(POSTGRES_BIN / "initdb", "-D", place / "db", "-U", "codeft", "-A", "scram-sha-256", "--pwfile", secret)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={place} -c fsync=off"
    _as_postgres(POSTGRES_BIN / "pg_ctl", "-D", place / "db", "-o", options, "-l", place / "log", "-w", "start")
    try:
        environment = os.environ | {"PGPASSWORD": password_file.read_text()}
        where = ["-h", "127.0.0.1", "-p", str(port), "-U", "codeft"]
        subprocess.run([POSTGRES_BIN / "createdb", *where, "codeft"], env=environment, check=True)
        yield place
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            _as_postgres(POSTGRES_BIN / "pg_ctl", "-D", place / "db", "-m", "fast", "stop")
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def stack(folder):
    """Start PostgreSQL, code server, both web servers and the daemon; stop all at the end."""
    planted = Planted(folder)
    here = Stack(folder, planted)
    with planted.service(), postgres(here.ports["postgres"], planted.path(PASSWORD)) as here.database:
        try:
            here.start("code-server")
            pause = threading.Event()
            while not here.is_healthy("code-server"):
                assert here.running["code-server"].poll() is None, (folder / "code-server.log").read_text()[-3000:]
                pause.wait(1)
            for name in PROCESSES[1:]:
                here.start(name)
            for name in ("webserver", "webserver-readonly"):
                wait_until_served(f"{here.url(name)}/server_info", here.running[name])
            yield here
        finally:
            here.stop()


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pictures", type=Path, help="folder for pictures of the web UI")
    pictures = options.parse_args().pictures
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder)) as here:
        claims = [check(f"{name} is healthy", here.is_healthy(name)) for name in PROCESSES[:-1]]
        run_id = here.launch(job="everything")["run"]["runId"]
        status = here.finish(run_id, RUN_SECONDS)
        claims.append(check(f"everything, from the sources to the scoreboard: {status}", status == "SUCCESS"))
        claims.append(check("daemon is healthy", here.is_healthy("daemon")))
        refusal = here.launch(job="everything", name="webserver-readonly")["__typename"]
        claims.append(check(f"the read-only web UI refuses a run: {refusal}", refusal == "UnauthorizedError"))
        failed, alert = misuse(here)
        print(f"a run whose key is refused fails, and the alert about it too: {alert}")
        unseen, said = report(here, failed)
        claims.append(check(said, unseen))
        print((here.data / "files/scoreboard/scoreboard.md").read_text())
        if pictures:
            claims.append(check("no console error", not take(here, pictures, run_id)))
    return 0 if all(claims) else 1


def check(claim, holds):
    print(f"{'ok' if holds else 'WRONG'}: {claim}", flush=True)
    return holds


def take(here, folder, run_id):
    """Take the stack's pictures: its run, its daemons, and the read-only graph; return the console's errors."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        "stack-run": (here.url(), f"/runs/{run_id}"),
        "stack-daemons": (here.url(), "/health"),
        "stack-readonly": (here.url("webserver-readonly"), "/asset-groups"),
    }
    with browser_page() as (page, errors):
        for name, (address, path) in pages.items():
            page.goto(address + path)
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(3000)
            page.screenshot(path=str(folder / f"{name}.png"))
        return errors


if __name__ == "__main__":
    sys.exit(main())
