"""Raylets of one machine, for tests; nothing here needs Ray to be imported."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from tests import patience
from tests.webui.server import ROOT, default_signals

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@contextmanager
def ray_nodes(**head):
    """A head that runs no units, and two nodes of one CPU."""
    os.environ["RAY_raylet_start_wait_time_s"] = "180"  # noqa: SIM112  Ray's spelling; a loaded machine is slow, not dead
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False} | head)
    for _ in range(2):
        cluster.add_node(**NODE)
    os.environ["RAY_ADDRESS"] = cluster.address
    yield cluster
    import ray

    ray.shutdown()
    cluster.shutdown()
    del os.environ["RAY_ADDRESS"]


def wait_until(holds):
    end = time.monotonic() + patience.SECONDS
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def start(module, key, root, config="{}", **variables):
    """Materialize an asset in a process of its own."""
    home = root / "dagster"
    home.mkdir(exist_ok=True)
    environment = os.environ | variables | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    environment |= {"CODEFT_HOME": str(root), "DAGSTER_HOME": str(home)}
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", module, "--select", key]
    command += ["--config-json", config]
    with (root / "output.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log, preexec_fn=default_signals)


def cancel(process, root, number):
    """End a run as "Terminate" of the web UI does, or as a stopped container; return how it ended."""
    import dagster as dg

    with dg.DagsterInstance.from_config(str(root / "dagster")) as instance:
        [run] = instance.get_runs(limit=1)
        if number == signal.SIGINT:
            instance.report_run_canceling(run)
        process.send_signal(number)
        assert process.wait(patience.SECONDS) == 1
        return instance.get_run_by_id(run.run_id).status.value


def once(path):
    """True for the first process that asks."""
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
