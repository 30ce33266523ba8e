"""Alerts: once for each failure, to log and webhook; none is lost where sending fails, and no error holds the URL."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import pytest

from codeft_assets.defs.automation.alerts import (
    UI_VARIABLE,
    WEBHOOK_VARIABLE,
    Alert,
    AlertError,
    alert_sensor,
    send,
)
from codeft_assets.defs.failures import ExplainedError

SECRET = "T0PSECRET/hook-4711"
ALERT = Alert(kind="run failed", name="everything", severity="ERROR", text="why", run_id="1")


class Hook(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def hook(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Hook)
    server.received, server.status = [], 200
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setenv(WEBHOOK_VARIABLE, f"http://127.0.0.1:{server.server_address[1]}/{SECRET}?key={SECRET}")
    yield server
    server.shutdown()
    server.server_close()


@dg.asset
def broken():
    raise ValueError("the disk is full; free space")


@dg.asset_check(asset=broken, description="never passes")
def promise():
    return dg.AssetCheckResult(passed=False, description="two rows are gone", severity=dg.AssetCheckSeverity.WARN)


DEFINITIONS = dg.Definitions(assets=[broken], asset_checks=[promise], sensors=[alert_sensor])


class Looks:
    """The sensor, tick after tick on one instance."""

    def __init__(self, instance):
        self.instance, self.cursor = instance, None
        self.look()

    def look(self):
        context = dg.build_sensor_context(
            self.instance, cursor=self.cursor, repository_def=DEFINITIONS.get_repository_def()
        )
        try:
            return alert_sensor(context).skip_message
        finally:
            self.cursor = context.cursor


@pytest.fixture
def looks():
    with dg.DagsterInstance.ephemeral() as instance:
        fail(instance)  # before the first look: not told
        yield Looks(instance)


def fail(instance):
    dg.materialize([broken], instance=instance, raise_on_error=False)


def fail_check(instance):
    key = dg.AssetKey("broken")
    check = dg.AssetCheckEvaluation(
        asset_key=key, check_name="promise", passed=False, metadata={}, description="two rows are gone"
    )
    instance.report_runless_asset_event(check)


def test_a_failed_run_and_a_failed_check_are_told_once(looks, hook):
    fail(looks.instance)
    fail_check(looks.instance)
    assert looks.look() == "2 alerts"
    assert [body["kind"] for _, body in hook.received] == ["run failed", "check failed"]
    assert "two rows are gone" in hook.received[1][1]["text"]
    assert looks.look() == "nothing went wrong since the last look"
    fail_check(looks.instance)  # again, in another evaluation
    assert looks.look() == "1 alerts"


def test_an_alert_has_the_reason_and_a_link_to_the_run(looks, hook, monkeypatch):
    monkeypatch.setenv(UI_VARIABLE, "https://codeft.example/ui/")
    fail(looks.instance)
    looks.look()
    [(_, body)] = hook.received
    [run, *_] = looks.instance.get_runs()
    assert body["name"] == "broken"
    assert body["url"] == f"https://codeft.example/ui/runs/{run.run_id}"
    assert body["text"] == f"ERROR: run failed: broken: the disk is full; free space {body['url']}"


def test_a_failure_that_explains_itself_and_one_of_a_resource_are_told_by_their_reasons(looks, hook):
    @dg.asset
    def explained():
        raise ExplainedError("limit = -1 must be at least 0") from KeyError("x")

    @dg.asset(required_resource_keys={"room"})
    def housed():
        pass

    @dg.resource
    def room():
        raise ValueError("profile 'x' is not one of sample, full")

    for asset in (explained, housed):
        dg.materialize([asset], instance=looks.instance, resources={"room": room}, raise_on_error=False)
    assert looks.look() == "2 alerts"
    first, second = (body["text"] for _, body in hook.received)
    assert "explained: limit = -1 must be at least 0 http://127.0.0.1:3000/runs/" in first
    assert "profile 'x' is not one of sample, full http" in second


def test_without_a_webhook_alerts_are_logged_only(looks, monkeypatch):
    monkeypatch.delenv(WEBHOOK_VARIABLE, raising=False)
    fail(looks.instance)
    assert looks.look() == "1 alerts"


def test_an_alert_that_cannot_be_sent_is_sent_later_and_the_error_does_not_say_where_to(looks, hook):
    hook.status = 500
    fail(looks.instance)
    with pytest.raises(AlertError, match="answered 500") as caught:
        looks.look()
    assert SECRET not in str(caught.value)
    hook.status = 200
    assert looks.look() == "1 alerts"
    assert len(hook.received) == 2


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1:1/{SECRET}",
        f"https://{SECRET.split('/', maxsplit=1)[0]}.invalid/{SECRET}",
        f"ftp://h/{SECRET}",
        SECRET,
        f"http://127.0.0.1:1/{SECRET} with space",
        f"http://h:{SECRET}/",
    ],
)
def test_no_error_holds_the_url(url):
    import traceback

    with pytest.raises(AlertError) as caught:
        send(ALERT, url)
    shown = "".join(traceback.format_exception(caught.value))
    assert "T0PSECRET" not in shown.upper()
    assert WEBHOOK_VARIABLE in str(caught.value)
