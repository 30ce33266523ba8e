"""Where programs that use a GPU run, and on how many."""

import pytest

from codeft_assets.defs.messages import program_client
from codeft_assets.defs.ray_programs import RayProgramClient
from codeft_assets.defs.workspace import Workspace


@pytest.mark.parametrize("executor", ["", "local", "processes", "ray://head:10001"])
def test_programs_run_here_unless_this_machine_is_a_node(executor, tmp_path):
    local = program_client()
    assert Workspace(root=str(tmp_path), executor=executor).program_client(local, 2) is local


def test_programs_run_on_the_cluster_that_runs_the_units(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEFT_EXECUTOR", "ray")
    client = Workspace(root=str(tmp_path), workers=3).program_client(program_client(), 2)
    assert client == RayProgramClient(workers=3, root=str(tmp_path), num_gpus=2, wrap=client.wrap)


def test_the_launchs_number_of_gpus_comes_before_the_environments(monkeypatch):
    assert Workspace().num_gpus is None
    monkeypatch.setenv("CODEFT_GPUS", "4")
    assert (Workspace().num_gpus, Workspace(gpus=2).num_gpus) == (4, 2)
    monkeypatch.setenv("CODEFT_GPUS", "many")
    with pytest.raises(ValueError, match=r"CODEFT_GPUS='many' is not a number"):
        _ = Workspace().num_gpus


def test_several_nodes_need_the_cluster_that_has_them(monkeypatch, tmp_path):
    assert Workspace().num_nodes == 1
    monkeypatch.setenv("CODEFT_NODES", "2")
    assert (Workspace(executor="ray").num_nodes, Workspace(executor="ray", nodes=3).num_nodes) == (2, 3)
    with pytest.raises(ValueError, match=r"training on 2 nodes needs the executor ray, not 'processes'; set CODEFT_EX"):
        _ = Workspace().num_nodes
    client = Workspace(root=str(tmp_path), executor="ray").program_client(program_client(), 1, 2)
    assert isinstance(client, RayProgramClient)
    assert client.num_nodes == 2
