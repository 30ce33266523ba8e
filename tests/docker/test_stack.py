"""The processes of compose.yaml over a real PostgreSQL: healthy, a run goes through the queue, read-only is so."""

import pytest

from codeft_assets.sources import SOURCES
from tests import patience
from tests.docker.planted import POSTGRES_BIN, misuse, report
from tests.docker.stack import DAEMONS, stack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(POSTGRES_BIN is None, reason="needs Debian's package postgresql"),
]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    with stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="module")
def run(here):
    answer = here.launch([*(f"documents/{name}" for name in SOURCES), "quality/annotations"])
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return here.finish(answer["run"]["runId"], patience.SECONDS)


def test_a_run_goes_through_queue_code_server_and_postgres(here, run):
    assert run == "SUCCESS", (here.folder / "daemon.log").read_text()[-2000:]
    assert (here.data / "tables/quality/annotations/manifest.json").exists()


@pytest.mark.parametrize("name", ["code-server", "webserver", "webserver-readonly", "daemon"])
def test_a_process_passes_its_own_health_check(here, run, name):
    assert here.is_healthy(name)


def test_all_daemons_that_are_needed_are_healthy(here, run):
    daemons = here.post(DAEMONS)["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
    needed = [daemon for daemon in daemons if daemon["required"]]
    assert needed
    assert all(daemon["healthy"] for daemon in needed)


def test_the_read_only_web_ui_starts_no_run(here, run):
    assert here.launch(["quality/annotations"], name="webserver-readonly")["__typename"] == "UnauthorizedError"


def test_planted_secrets_stand_in_no_log_no_data_no_process_argument_and_nowhere_in_the_database(here, run):
    failed, alert = misuse(here)
    assert "CODEFT_ALERT_WEBHOOK answered 500" in alert
    unseen, said = report(here, failed)
    assert unseen, said
