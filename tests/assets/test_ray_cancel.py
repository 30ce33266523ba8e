"""A run that is cancelled while it works on Ray: units and programs end, locks are free, the next run resumes."""

import os
import signal
from pathlib import Path

import dagster as dg
import pytest

from codeft_assets.defs.workspace import Workspace
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import map_shards
from tests import patience
from tests.assets.raylets import cancel, once, ray_nodes, start, wait_until
from tests.assets.test_engine import STAGE, calls, double, units
from tests.assets.test_ray_executor import committed, undisturbed
from tests.webui.server import free_port

pytest.importorskip("ray", reason="the extra `cluster` is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # several starts of dagster in a test


@pytest.fixture(scope="module")
def addresses():
    """By name of an executor: a head that runs no units, and two nodes of one CPU."""
    port = free_port()
    with ray_nodes(ray_client_server_port=port) as cluster:
        yield {"ray": cluster.address, "ray://": f"ray://127.0.0.1:{port}"}


def stay_in_fourth(number, log):
    """The first to come to the fourth unit says in which process, and never ends."""
    if number == 4 and once(f"{log}.begun"):
        Path(f"{log}.process").write_text(str(os.getpid()))
        while True:
            signal.pause()
    yield from double(number, log)


@dg.asset
def doubled(workspace: Workspace) -> None:
    log = workspace.store.root + "/log"
    table = workspace.store.table("doubled")
    map_shards(stay_in_fourth, units(log), table, stage=STAGE, executor=workspace.start_executor)


defs = dg.Definitions(assets=[doubled], resources={"workspace": Workspace()}, executor=dg.in_process_executor)


def is_alive(process):
    return Path(f"/proc/{process}").exists()


@pytest.mark.parametrize(
    ("executor", "number", "status"),
    [
        ("ray", signal.SIGINT, "CANCELED"),
        ("ray://", signal.SIGINT, "CANCELED"),
        ("ray", signal.SIGTERM, "FAILURE"),
    ],
)
def test_units_of_a_cancelled_run_end_and_the_next_run_resumes(addresses, tmp_path, executor, number, status):
    table = Store(str(tmp_path)).table("doubled")
    variables = {"ray": {"CODEFT_EXECUTOR": "ray", "RAY_ADDRESS": addresses["ray"]}}
    variables |= {"ray://": {"CODEFT_EXECUTOR": addresses["ray://"]}}
    run = start("tests.assets.test_ray_cancel", "doubled", tmp_path, **variables[executor])
    process = tmp_path / "log.process"
    wait_until(lambda: process.exists() and process.read_text() and committed(table, 4))
    assert cancel(run, tmp_path, number) == status
    wait_until(lambda: not is_alive(int(process.read_text())))
    again = start("tests.assets.test_ray_cancel", "doubled", tmp_path, **variables[executor])
    assert again.wait(patience.SECONDS) == 0
    assert calls(tmp_path / "log") == [1, 2, 3, 4, 5]
    assert table.manifest().content_hash == undisturbed(tmp_path).content_hash
