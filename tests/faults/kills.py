"""Faults of processes: each is killed without a word while it works, then the next run is looked at."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import dagster as dg

from tests.faults.world import (
    LOCATION,
    ROOT,
    STAGES,
    World,
    error_of,
    kill,
    require,
    wait_until,
)

TRAINING = {
    "ops": {
        "model__checkpoint": {
            "config": {
                "recipe": "smoke",
                "overrides": {
                    "max_steps": 60,
                    "batch_rows": 4,
                    "hidden_size": 32,
                    "num_layers": 1,
                    "intermediate_size": 48,
                    "log_every_steps": 2,
                    "validate_every_steps": 30,
                    "save_every_steps": 10,
                    "validation_rows": 4,
                },
            }
        }
    }
}
TRAINED = 'key:"model/tokenizer" or key:"corpus/packed" or key:"model/checkpoint"'


def steps(undisturbed, folder):
    """One fault a stage: the run is killed in it; the next run gets as far as the stage after it."""
    world = World(folder, undisturbed.hub, begin_from=undisturbed)

    def fault_of(stage):
        def fault(*_):
            code, log = world.run(when=f'Started execution of step "{stage}"', do=kill)
            require(code == -signal.SIGKILL, f"it was not killed in {stage}: {error_of(log)}")
            for table in world.store.tables():
                require(
                    table.manifest().content_hash == undisturbed.hashes()[table.key], f"{table.key} has another hash"
                )
                table.read()
            return f"{len(world.store.tables())} tables whole, none half; the next run goes on"

        return fault

    def last(*_):
        code, log = world.run()
        require(code == 0, error_of(log))
        require(world.hashes() == undisturbed.hashes(), "other content hashes")
        return "the undisturbed content hashes, after a kill in every stage"

    named = [(f"run killed in {stage.replace('__', '/').replace('_', '-')}", fault_of(stage)) for stage in STAGES]
    return [*named, ("run after all of these kills", last)]


def worker(undisturbed, folder):
    """One of two worker processes of a stage is killed."""
    script = (
        "import sys; from tests.assets import test_engine as t; from codeft_assets.store.data_root import Store;"
        "from codeft_assets.store.engine import map_shards;"
        "table = Store(sys.argv[1]).table('doubled'); log = sys.argv[1] + '/log';\n"
        "try:\n    map_shards(t.kill_at_third, t.units(log), table, stage=t.STAGE, executor=t.TWO)\n"
        "except RuntimeError as error:\n    print(error)\n"
        "assert not table.exists()\n"
        "again = map_shards(t.double, t.units(log), table, stage=t.STAGE)\n"
        "fresh = map_shards(t.double, t.units(log), Store(sys.argv[1]).table('fresh'), stage=t.STAGE)\n"
        "assert again.manifest.content_hash == fresh.manifest.content_hash\n"
    )
    folder.mkdir(parents=True)
    world = World(folder / "world", undisturbed.hub)
    (folder / "worker.py").write_text(f"if __name__ == '__main__':\n    exec({script!r})\n")
    done = subprocess.run(
        [sys.executable, folder / "worker.py", str(folder)], env=world.environment, cwd=ROOT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    require(done.returncode == 0, done.stderr[-300:])
    require("CODEFT_WORKERS" in done.stdout, f"no remedy: {done.stdout[:200]}")
    return "error names the remedy (CODEFT_WORKERS); the next run ends in the undisturbed content hash"


class Stack:
    """Webserver, daemon and code server, each a process of its own, as on a server."""

    def __init__(self, world, port):
        self.world, self.port, self.processes = world, port, {}
        (world.home / "workspace.yaml").write_text(
            f"load_from:\n- grpc_server:\n    host: 127.0.0.1\n    port: {port}\n    location_name: codeft\n"
        )

    def start(self, *names):
        workspace = ["-w", str(self.world.home / "workspace.yaml")]
        commands = {
            "code server": ["-m", "dagster", "api", "grpc", "-h", "127.0.0.1", "-p", str(self.port), "-m", LOCATION],
            "daemon": ["-m", "dagster._daemon", "run", *workspace],
            "webserver": ["-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(self.port + 1), *workspace],
        }
        for name in names:
            log = (self.world.folder / f"{name}.log").open("a")
            self.processes[name] = subprocess.Popen(
                [sys.executable, *commands[name]], env=self.world.environment, cwd=ROOT, stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
            if name == "code server":  # a webserver that finds none keeps that error until it is asked to reload
                require(wait_until(self._listens), "the code server does not listen")
        require(wait_until(self._answers), "the webserver does not answer")

    def _listens(self):
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def _answers(self):
        try:
            return '"locationOrLoadError":{"__typename":"RepositoryLocation"' in json.dumps(
                self.post("{workspaceOrError{... on Workspace{locationEntries{locationOrLoadError{__typename}}}}}"),
                separators=(",", ":"),
            )
        except OSError:
            return False

    def post(self, query, **variables):
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port + 1}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)

    def launch(self):
        """Launch the job build_corpus as the web UI does and return the run's id."""
        query = """mutation($p: ExecutionParams!) {launchRun(executionParams: $p) {__typename
          ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"""
        selector = {
            "repositoryLocationName": "codeft",
            "repositoryName": "__repository__",
            "jobName": "build_corpus",
        }
        answer = self.post(query, p={"selector": selector, "runConfigData": {}})["data"]["launchRun"]
        require("run" in answer, f"the run was not launched: {answer}")
        return answer["run"]["runId"]

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self):
        for process in self.processes.values():
            process.kill()
            process.wait()


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def is_said(instance, run_id, text):
    return any(text in (entry.message or "") for entry in instance.all_logs(run_id))


def _run_worker(instance, run_id):
    """Return the process that executes a run, which its log names: command lines hold the run's id in others too."""
    said = " ".join(entry.message or "" for entry in instance.all_logs(run_id))
    return int(re.search(r"Started process for run \(pid: (\d+)\)", said)[1])


@contextmanager
def stack(world):
    """Yield a running stack; end all its processes."""
    made = Stack(world, _free_port())
    try:
        made.start("code server", "daemon", "webserver")
        yield made
    finally:
        made.stop()


STEP = 'Started execution of step "dedup__signatures"'


def server(name):
    """Return the fault: the process of that name is killed in the middle of a run and started again."""

    def fault(undisturbed, folder):
        world = World(folder, undisturbed.hub, begin_from=undisturbed)
        with stack(world) as running, dg.DagsterInstance.from_config(str(world.home)) as instance:
            run_id = running.launch()
            require(wait_until(lambda: is_said(instance, run_id, STEP)), f"the run did not start: {_why(world)}")
            if name == "run worker":
                os.kill(_run_worker(instance, run_id), signal.SIGKILL)
            else:
                running.kill(name)
                running.start(name)
            ended = wait_until(lambda: all(run.is_finished for run in instance.get_runs()) and _retried(instance, name))
            status = [run.status.value for run in instance.get_runs()]
        require(ended, f"the run never ended: {status}")
        how = f"runs end {' then '.join(reversed(status))}"
        if world.hashes() == undisturbed.hashes():
            return f"{how}: the undisturbed content hashes with nobody's help"
        code, log = world.run()
        require(code == 0, error_of(log))
        require(world.hashes() == undisturbed.hashes(), "other content hashes")
        return f"{how}; the next run ended in the undisturbed content hashes"

    fault.__doc__ = f"The {name} is killed in the middle of a run, and started again."
    return fault


def _retried(instance, name):
    return name != "run worker" or len(instance.get_runs()) > 1


def _why(world):
    return (world.folder / "daemon.log").read_text()[-300:]


def training(undisturbed, folder):
    """The training process is killed, then the run that started it; both times it goes on from its last state."""
    base = World(folder / "base", undisturbed.hub, copy_of=undisturbed)
    code, log = base.run(TRAINED, config=TRAINING)
    require(code == 0, error_of(log))
    world = World(folder / "world", undisturbed.hub, copy_of=undisturbed)
    seen = []
    code, log = world.run(
        TRAINED, config=TRAINING, when="step 20", do=lambda process: seen.append(_kill_child(process))
    )
    require(seen and seen[0], f"no training process was found: {error_of(log)}")
    require(code != 0, "a killed training was a success")
    require(not (world.data / "files/model/checkpoint/result.json").exists(), "a killed training left a result")
    code, log = world.run('key:"model/checkpoint"', config=TRAINING, when="step 40", do=kill)
    require(code == -signal.SIGKILL, f"the run was not killed: {error_of(log)}")
    require(wait_until(lambda: not _trainers(world)), "an orphan trains on")
    code, log = world.run('key:"model/checkpoint"', config=TRAINING)
    require(code == 0, error_of(log))
    require(_weights(world) == _weights(base), "other weights")
    return "killed at step 20 and, with the run, at step 40: the same weights to the bit, and no orphan"


def _weights(world):
    return json.loads((world.data / "files/model/checkpoint/result.json").read_text())["weights_hash"]


def _trainers(world):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                line = file.read()
        except OSError:
            continue
        if b"codeft_training" in line and b"train\0--packed" in line and str(world.data).encode() in line:
            found.append(int(name))
    return found


def _kill_child(process):
    """Kill the training process below a run."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        children = [int(word) for word in file.read().split()]
    for child in children:
        with open(f"/proc/{child}/cmdline", "rb") as file:
            if b"codeft_training" in file.read():
                os.kill(child, signal.SIGKILL)
                return True
    return False


POSTGRES = "/usr/lib/postgresql"


def postgres_programs():
    """Return the folder of PostgreSQL's programs, None where it is not installed."""
    found = sorted(path for path in os.listdir(POSTGRES)) if os.path.isdir(POSTGRES) else []
    return f"{POSTGRES}/{found[-1]}/bin" if found else None


def postgres(undisturbed, folder):
    """PostgreSQL, which stores runs and events, is stopped hard in the middle of a run, and started again."""
    world, port = World(folder, undisturbed.hub, begin_from=undisturbed), _free_port()
    database = Postgres(folder / "pg", port)
    try:
        (world.home / "dagster.yaml").write_text(
            "storage:\n  postgres:\n    postgres_db:\n      hostname: 127.0.0.1\n      username: postgres\n"
            f"      password: none\n      db_name: postgres\n      port: {port}\n      scheme: postgresql+psycopg2\n"
            "telemetry: {enabled: false}\n"
        )

        def restart(_):
            database.control("restart", "-m", "immediate")

        code, log = world.run(when=f"{STEP}", do=restart)
        said = "the run went on" if code == 0 else f"the run failed ({error_of(log)[:60]}…)"
        code, log = world.run()
        require(code == 0, f"the next run failed: {error_of(log)}")
    finally:
        database.control("stop", "-m", "immediate")
    require(world.hashes() == undisturbed.hashes(), "other content hashes")
    return f"{said}; the next run ended in the undisturbed content hashes"


class Postgres:
    """A server in a temporary folder; it refuses to run as root, so root lends it another user."""

    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        self.prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        folder.mkdir(parents=True)
        for path in (folder, *list(folder.parents)[:6]):
            if os.getuid() == 0 and str(path).startswith("/tmp/"):
                os.chmod(path, 0o777 if path == folder else 0o755)
        self._call("initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "--no-sync")
        self.control("start")

    def control(self, action, *arguments):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        started = ["-o", options, "-l", str(self.folder / "log")] if action != "stop" else []
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-w", *started, action, *arguments)

    def _call(self, program, *arguments):
        done = subprocess.run(
            [*self.prefix, f"{postgres_programs()}/{program}", *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        require(done.returncode == 0, f"{program}: {done.stderr[-300:]}")
