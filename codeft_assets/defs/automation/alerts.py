"""Alerts: every failed run and every failed check, with its reason and a link to the run, in the log and to a webhook.

The webhook's URL is a secret: it comes from ``CODEFT_ALERT_WEBHOOK`` only and is never part of a log line, of metadata
or of an error. An alert that could not be sent is sent at the next tick.
"""

import http.client
import json
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from codeft_assets.defs.failures import failed_check_reason

WEBHOOK_VARIABLE = "CODEFT_ALERT_WEBHOOK"
UI_VARIABLE = "CODEFT_UI_URL"
LOCAL_UI = "http://127.0.0.1:3000"
INTERVAL_SECONDS = 60
TIMEOUT_SECONDS = 10.0
MAX_ALERTS = 100
_MAX_CHARS = 600


class AlertError(RuntimeError):
    """An alert could not be sent; the message has the reason and never the URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A failed run or check, as it is sent."""

    kind: str
    """``run failed`` or ``check failed``."""
    name: str
    severity: str
    text: str
    """The reason."""
    run_id: str

    @property
    def url(self) -> str:
        """The page of the run in the web UI; "" for a check that was reported without a run."""
        return f"{(os.environ.get(UI_VARIABLE) or LOCAL_UI).rstrip('/')}/runs/{self.run_id}" if self.run_id else ""

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{self.severity}: {self.kind}: {self.name}: {self.text}", self.url)))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCursor:
    """The failures that were reported already."""

    runs: str | None = None
    """Position in the log of run failures; None before the first tick."""
    checks: Mapping[str, int] = field(default_factory=dict)
    """The last evaluation of each check that failed."""

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "AlertCursor":
        """Return the parsed cursor; an unreadable one is that of a first tick."""
        try:
            return cls(**json.loads(cursor or "{}"))
        except (ValueError, TypeError):
            return cls()

    def to_cursor(self) -> str:
        """Return the cursor."""
        return json.dumps(asdict(self), sort_keys=True)


def new_alerts(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], cursor: AlertCursor
) -> Iterator[tuple[Alert, AlertCursor]]:
    """Yield the failures after ``cursor``, each with the cursor that follows it."""
    for _ in range(MAX_ALERTS):
        found = instance.fetch_run_status_changes(
            dg.DagsterEventType.RUN_FAILURE, limit=1, cursor=cursor.runs, ascending=True
        )
        if not found.records:
            break
        cursor = replace(cursor, runs=found.cursor)
        yield _run_alert(found.records[0].event_log_entry), cursor
    for name, evaluation_id, alert in _failed_checks(instance, checks):
        if cursor.checks.get(name) != evaluation_id:
            cursor = replace(cursor, checks={**cursor.checks, name: evaluation_id})
            yield alert, cursor


def latest_cursor(instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]) -> AlertCursor:
    """Return the cursor after all failures so far."""
    newest = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1)
    failed = {name: evaluation_id for name, evaluation_id, _ in _failed_checks(instance, checks)}
    return AlertCursor(runs=newest.cursor, checks=failed)


def _failed_checks(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]
) -> Iterator[tuple[str, int, Alert]]:
    summaries = instance.event_log_storage.get_asset_check_summary_records(list(checks))
    for key, summary in sorted(summaries.items(), key=lambda pair: str(pair[0])):
        record = summary.last_check_execution_record
        event = record.event.dagster_event if record and record.event else None
        if record is None or event is None or event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        check = event.asset_check_evaluation_data
        if not check.passed:
            name = f"{key.asset_key.to_user_string()}: {key.name}"
            text = _shortened(failed_check_reason(check))
            alert = Alert(
                kind="check failed", name=name, severity=check.severity.value, text=text, run_id=record.run_id
            )
            yield name, record.id, alert


def _run_alert(entry: dg.EventLogEntry) -> Alert:
    event = entry.dagster_event
    failure = event.job_failure_data if event else None
    step = failure.first_step_failure_event if failure else None
    error = step.step_failure_data.error if step else failure.error if failure else None
    reason = _reason(error) if error else (event and event.message) or "look at the run in the web UI"
    name = (step and step.step_key) or (event and event.job_name) or ""
    return Alert(kind="run failed", name=name, severity="ERROR", text=_shortened(reason), run_id=entry.run_id)


def _reason(error: SerializableErrorInfo) -> str:
    """Return the message of the error that Dagster's own is about, without the name of its class."""
    while error.cause and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    return re.sub(r"^[\w.]+: ", "", error.message.strip())


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}…"


def send(alert: Alert, url: str) -> None:
    """Post an alert as JSON; chat services show its ``text``.

    Raises:
        AlertError: the URL is malformed, nobody answers, or the answer is an error.
    """
    body = json.dumps(asdict(alert) | {"text": str(alert), "url": alert.url})
    try:
        status = _post(url, body)
    except (OSError, http.client.HTTPException) as error:
        # its own text may hold the host or the path, so only its type is shown, and it is not chained
        raise AlertError(f"the webhook of {WEBHOOK_VARIABLE} cannot be reached ({type(error).__name__})") from None
    except (ValueError, LookupError):
        raise AlertError(
            f"{WEBHOOK_VARIABLE} is not an http or https URL; set it to your service's webhook or unset it"
        ) from None
    if status >= 300:
        raise AlertError(f"the webhook of {WEBHOOK_VARIABLE} answered {status}; look at its address and its service")


def _post(url: str, body: str) -> int:
    parts = urllib.parse.urlsplit(url)
    kind = {"https": http.client.HTTPSConnection, "http": http.client.HTTPConnection}[parts.scheme]
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    try:
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        connection.request("POST", target, body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


@dg.sensor(
    name="alerts",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Logs every failed run and failed check, and posts it to the webhook in {WEBHOOK_VARIABLE} if set. "
    f"Starts no run.",
)
def alert_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Report the failures since the last tick; the first tick reports none."""
    assert context.repository_def is not None, "a sensor of a code location"
    checks = sorted(context.repository_def.asset_graph.asset_check_keys, key=str)
    cursor = AlertCursor.from_cursor(context.cursor)
    if cursor.runs is None:
        context.update_cursor(latest_cursor(context.instance, checks).to_cursor())
        return dg.SkipReason("the first look: alerts begin now")
    url, num_reported = os.environ.get(WEBHOOK_VARIABLE, ""), 0
    for alert, after in new_alerts(context.instance, checks, cursor):
        context.log.error(str(alert))
        if url:
            send(alert, url)  # raises: the tick fails, and the cursor stays before this alert
        context.update_cursor(after.to_cursor())
        num_reported += 1
    return dg.SkipReason(f"{num_reported} alerts" if num_reported else "nothing went wrong since the last look")
