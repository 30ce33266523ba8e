"""compose.yaml's services in the images that build_images.sh built: real containers, by runc, over Debian's PostgreSQL.

    python -m tests.docker.image_stack [--cluster] [--job everything | --assets KEY ... [--data FOLDER] [--config JSON]]

Each process has its image's root, user and variables, a process namespace and a cgroup with compose's memory limit, no
capabilities, and the volume; the network is the machine's, so ports differ as in stack.py. ``--cluster`` is the profile
of that name: a Ray head that serves the code, and two workers. Needs root, buildah, runc, and the images ``server`` and
``cluster``, which stands for ``train`` too: it is that target with one extra more.
"""

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tests.docker.planted import Planted
from tests.docker.stack import ENDED, PASSWORD, RUN_SECONDS, Stack, check, image_command, postgres
from tests.webui.server import free_port

UID = 10001
IMAGES = {"webserver": "server", "webserver-readonly": "server", "daemon": "server"}
OCI = {"BUILDAH_ISOLATION": "oci", "STORAGE_DRIVER": os.environ.get("STORAGE_DRIVER", "overlay")}
RAY_TOKEN = "ray_token"
ERRORS = """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
  ... on ExecutionStepFailureEvent { stepKey error { message errorChain { error { message } } } } } } } }"""


class ImageStack(Stack):
    """The same processes, each in a container of its image."""

    def __init__(self, folder, planted, code_server):
        super().__init__(folder, planted)
        self.code_server, self.containers = code_server, {}
        self.ports |= {code_server: self.ports["code-server"], "ray": free_port()}
        (planted.folder / RAY_TOKEN).write_text(secrets.token_hex(32))

    def service(self, name):
        """Return compose's service of a container: ray-worker-2 is one of the service ray-worker."""
        return self.services[re.sub(r"-\d$", "", name)]

    def give_to_user(self):
        for path in [self.folder, *self.folder.rglob("*")]:
            os.chown(path, UID, UID)

    def environment(self, name):
        service = self.service(name)
        given = {key: _interpolated(str(value)) for key, value in service["environment"].items()}
        here = {
            "CODEFT_POSTGRES_HOST": "127.0.0.1",
            "CODEFT_POSTGRES_PORT": str(self.ports["postgres"]),
            "CODEFT_CODE_SERVER": "127.0.0.1",
            "CODEFT_LOGS": str(self.data / "logs"),
            "DAGSTER_HOME": str(self.home),
            "RAY_ADDRESS": f"127.0.0.1:{self.ports['ray']}",
            "RAY_AUTH_TOKEN_PATH": str(self.planted.folder / RAY_TOKEN),
        }
        always = {"CODEFT_HOME": str(self.data), "NUMBA_CACHE_DIR": str(self.data / ".cache/numba")}
        replaced = {key: value for key, value in here.items() if key in given or key == "DAGSTER_HOME"}
        return given | self.planted.environment(given) | replaced | always

    def command(self, name):
        service = self.service(name)
        words = service.get("command") or image_command(_interpolated(service["build"]["target"]))
        return ["/usr/local/bin/entrypoint.sh", *(self._swapped(word, name) for word in words)]

    def _swapped(self, word, name):
        exact = {"0.0.0.0": "127.0.0.1", "/opt/dagster/workspace.yaml": str(self.home / "workspace.yaml")}
        exact |= {"3000": str(self.ports.get(name)), "4000": str(self.ports["code-server"])}
        word = exact.get(word, word).replace("--port 4000", f"--port {self.ports['code-server']}")
        word = word.replace("ray-head:6379", f"127.0.0.1:{self.ports['ray']}")
        return word.replace("--port 6379", f"--port {self.ports['ray']} --node-ip-address 127.0.0.1")

    def in_container(self, name, words):
        if name not in self.containers:
            memory = _interpolated(self.service(name)["mem_limit"])
            limit = [] if memory == "0" else ["--memory", memory]
            image = f"localhost/codeft/{IMAGES.get(name, 'cluster')}"
            self.containers[name] = buildah("from", "--pull-never", *limit, image)
        variables = [f"--env={key}={value}" for key, value in self.environment(name).items()]
        options = [
            "--runtime",
            "runc",
            "--network",
            "host",
            "--cap-drop",
            "all",
            "--volume",
            f"{self.folder}:{self.folder}",
        ]
        return ["buildah", "run", *options, *variables, self.containers[name], "--", *words]

    def start(self, name):
        log = (self.folder / f"{name}.log").open("a")
        command = self.in_container(name, self.command(name))
        self.running[name] = subprocess.Popen(
            command, env=os.environ | OCI, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )

    def is_healthy(self, name):
        service = self.service(name)
        target = _interpolated(service.get("build", {}).get("target", ""))
        words = service["healthcheck"]["test"][1:] if "healthcheck" in service else image_command(target, "HEALTHCHECK")
        words = [
            self._swapped(word, name).replace("127.0.0.1:3000", f"127.0.0.1:{self.ports.get(name)}") for word in words
        ]
        done = subprocess.run(
            self.in_container(name, ["/usr/local/bin/entrypoint.sh", *words]),
            env=os.environ | OCI,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def await_health(self, name, seconds):
        pause = threading.Event()
        for _ in range(seconds):
            if self.is_healthy(name):
                return True
            if self.running[name].poll() is not None:
                break
            pause.wait(1)
        print((self.folder / f"{name}.log").read_text()[-3000:])
        return False

    def facts(self, name):
        """Return what the container says of itself: user, capabilities, memory limit, processes it sees."""
        script = (
            "echo user $(id -u), capabilities $(sed -n 's/^CapEff:.//p' /proc/self/status), memory "
            "$(cat /sys/fs/cgroup/memory/memory.limit_in_bytes), sees $(ls -d /proc/[0-9]* | wc -l) processes"
        )
        done = subprocess.run(
            self.in_container(name, ["sh", "-c", script]),
            env=os.environ | OCI,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def stop(self):
        for process in reversed(self.running.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
        for container in self.containers.values():
            buildah("rm", container)


def buildah(*words):
    return subprocess.run(
        ["buildah", *words], env=os.environ | OCI, check=True, capture_output=True, text=True
    ).stdout.strip()


def _interpolated(text):
    """Replace ``${NAME:-default}`` by the default: this machine's variables are not the containers'."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: found[2], text)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cluster", action="store_true", help="the profile cluster")
    options.add_argument("--job", default="everything", help="the job to run")
    options.add_argument("--assets", nargs="+", help="assets to materialize instead")
    options.add_argument("--config", type=json.loads, help="the run's configuration, as JSON")
    options.add_argument("--data", type=Path, help="a data root to begin with, which is copied")
    options = options.parse_args()
    code_server = "ray-head" if options.cluster else "code-server"
    others = ["ray-worker-1", "ray-worker-2"] if options.cluster else []
    services = [code_server, *others, "webserver", "webserver-readonly", "daemon"]
    folder = Path(tempfile.mkdtemp(prefix="codeft-images-"))
    try:
        planted = Planted(folder)
        here = ImageStack(folder, planted, code_server)
        with planted.service(), postgres(here.ports["postgres"], planted.path(PASSWORD)) as here.database:
            if options.data:
                shutil.copytree(options.data, here.data, dirs_exist_ok=True)
            here.give_to_user()
            try:
                return run(here, services, options)
            finally:
                here.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(here, services, options):
    claims = []
    for name in services:
        here.start(name)
        claims.append(check(f"{name} is healthy; {here.facts(name)}", here.await_health(name, 240)))
    asked = here.launch(options.assets, job="__ASSET_JOB" if options.assets else options.job, config=options.config)
    run_id = asked["run"]["runId"]
    status = here.finish(run_id, RUN_SECONDS)
    if status not in ENDED:
        print(f"no end after {RUN_SECONDS} s: {(here.folder / f'{services[0]}.log').read_text()[-1000:]}")
    claims.append(
        check(f"{' '.join(options.assets or [options.job])} in the containers: {status}", status == "SUCCESS")
    )
    for event in here.post(ERRORS, id=run_id)["data"]["logsForRun"]["events"]:
        if event:
            print(event["stepKey"], event["error"]["message"], event["error"]["errorChain"])
    claims.append(check("daemon is healthy", here.await_health("daemon", 60)))
    refusal = here.launch(job="everything", name="webserver-readonly")["__typename"]
    claims.append(check(f"the read-only web UI refuses a run: {refusal}", refusal == "UnauthorizedError"))
    owners = {path.stat().st_uid for path in (here.data / "tables").rglob("manifest.json")}
    claims.append(check(f"tables belong to user {owners}", owners == {UID}))
    found = subprocess.run(
        ["grep", "-rhoE", "on the Ray cluster: .*", here.data / "logs"], capture_output=True, text=True, check=False
    )
    print(found.stdout[:1000])
    board = here.data / "files/scoreboard/scoreboard.md"
    print(board.read_text() if board.is_file() else "no scoreboard was asked for")
    return 0 if all(claims) else 1


if __name__ == "__main__":
    sys.exit(main())
