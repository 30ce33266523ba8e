"""What a person reads of a run that failed or waits: the reason first."""

import fcntl
import threading

import dagster as dg
import pytest
import yaml

from codeft_assets.defs.failures import explained_failures
from codeft_assets.defs.workspace import Workspace
from codeft_assets.store.files import folder_lock
from tests import patience
from tests.test_make import ROOT


@dg.asset
def misspelled(workspace: Workspace):
    workspace.chosen_recipe("smoke", {"vocab_sise": "3"})


def test_the_rows_of_step_and_run_are_the_reason_and_the_frames_are_in_the_output(tmp_path, capfd):
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [misspelled],
            instance=instance,
            resources={"workspace": Workspace(root=str(tmp_path))},
            raise_on_error=False,
        )
        [failed] = [e for e in done.all_events if e.event_type is dg.DagsterEventType.STEP_FAILURE]
        [ended] = [e for e in done.all_events if e.event_type is dg.DagsterEventType.RUN_FAILURE]
    for error in (
        failed.step_failure_data.error,
        ended.job_failure_data.first_step_failure_event.step_failure_data.error,
    ):
        assert error.message.startswith("recipe 'smoke' trains from scratch and has no field 'vocab_sise'")
        assert (error.stack, error.cause, error.context) == ([], None, None)
    assert "Traceback" in capfd.readouterr().err


def test_a_run_that_waits_for_another_says_so_in_its_events(tmp_path):
    @dg.asset
    def written():
        with folder_lock(tmp_path / "table", resource="dedup/clusters"):
            pass

    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "codeft_assets" / "dagster.yaml").read_text())
    (tmp_path / "table").mkdir()
    with dg.DagsterInstance.from_config(str(home)) as instance, (tmp_path / "table" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as another run does
        run = threading.Thread(target=dg.materialize, args=([written],), kwargs={"instance": instance})
        run.start()
        pause, said = threading.Event(), []
        for _ in range(10 * patience.SECONDS):
            if said := [message for message in _messages(instance) if "dedup/clusters" in message]:
                break
            pause.wait(0.1)
        fcntl.flock(file, fcntl.LOCK_UN)
        run.join()
    assert said == ["another run is writing dedup/clusters: waiting for it to end"]


def _messages(instance):
    return [entry.user_message for run in instance.get_runs() for entry in instance.all_logs(run.run_id)]


def test_the_servers_instance_says_so_too():
    ours, servers = (
        yaml.safe_load((ROOT / path).read_text()) for path in ("codeft_assets/dagster.yaml", "docker/dagster.yaml")
    )
    assert ours["python_logs"] == servers["python_logs"]


def test_other_errors_keep_their_type():
    with pytest.raises(KeyError) as error, explained_failures():
        raise KeyError("x")
    assert not isinstance(error.value, dg.Failure)
