"""Alerts: every failed run and every failed check, written to the log and sent to a webhook where one is set.

The webhook's URL is a secret: it comes from ``CODEFT_ALERT_WEBHOOK`` only and is never part of a log line, of metadata
or of an error. What could not be sent is sent at the next look.
"""

import http.client
import json
import os
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import dagster as dg

WEBHOOK_VARIABLE = "CODEFT_ALERT_WEBHOOK"
INTERVAL_SECONDS = 60
TIMEOUT_SECONDS = 10.0
MAX_ALERTS = 100
_MAX_CHARS = 600


class AlertError(RuntimeError):
    """An alert could not be sent. Says why, and not where to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What went wrong, as it is sent."""

    kind: str
    """``run failed`` or ``check failed``."""
    name: str
    severity: str
    text: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.kind}: {self.name}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told already."""

    runs: str | None = None
    """Position in the log of run failures; None before the first look."""
    checks: Mapping[str, int] = field(default_factory=dict)
    """The last evaluation of each check that failed."""

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "Told":
        """Return what a cursor holds; an unreadable one is that of a first look."""
        try:
            return cls(**json.loads(cursor or "{}"))
        except (ValueError, TypeError):
            return cls()

    def to_cursor(self) -> str:
        """Return the cursor."""
        return json.dumps(asdict(self), sort_keys=True)


def new_alerts(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], told: Told
) -> Iterator[tuple[Alert, Told]]:
    """Yield what went wrong and was not told, each with what is told once it is."""
    for _ in range(MAX_ALERTS):
        found = instance.fetch_run_status_changes(
            dg.DagsterEventType.RUN_FAILURE, limit=1, cursor=told.runs, ascending=True
        )
        if not found.records:
            break
        told = replace(told, runs=found.cursor)
        yield _run_alert(found.records[0].event_log_entry), told
    for name, evaluation_id, alert in _failed_checks(instance, checks):
        if told.checks.get(name) != evaluation_id:
            told = replace(told, checks={**told.checks, name: evaluation_id})
            yield alert, told


def begin(instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]) -> Told:
    """Return the state in which all that went wrong so far counts as told."""
    newest = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1)
    return Told(runs=newest.cursor, checks={name: number for name, number, _ in _failed_checks(instance, checks)})


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
            text = _shortened(check.description or "look at the check in the web UI")
            alert = Alert(
                kind="check failed", name=name, severity=check.severity.value, text=text, run_id=record.run_id
            )
            yield name, record.id, alert


def _run_alert(entry: dg.EventLogEntry) -> Alert:
    event = entry.dagster_event
    text = _shortened((event and event.message) or "look at the run in the web UI")
    name = (event and event.job_name) or ""
    return Alert(kind="run failed", name=name, severity="ERROR", text=text, run_id=entry.run_id)


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}…"


def send(alert: Alert, url: str) -> None:
    """Post an alert as JSON; ``text`` is what chat services show.

    Raises:
        AlertError: the URL is none, nobody answers, or the answer is an error. The message does not hold the URL.
    """
    body = json.dumps(asdict(alert) | {"text": str(alert)})
    try:
        status = _post(url, body)
    except (OSError, http.client.HTTPException) as error:
        # its own text may hold the host or the path, so only its kind is told, and nothing is chained to it
        raise AlertError(f"the webhook of {WEBHOOK_VARIABLE} cannot be reached ({type(error).__name__})") from None
    except (ValueError, LookupError):
        raise AlertError(
            f"{WEBHOOK_VARIABLE} is no http or https URL; set it to your service's webhook or unset it"
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
    """Report what went wrong since the last look; at the first look, only what comes after it."""
    assert context.repository_def is not None, "a sensor of a code location"
    checks = sorted(context.repository_def.asset_graph.asset_check_keys, key=str)
    told = Told.from_cursor(context.cursor)
    if told.runs is None:
        context.update_cursor(begin(context.instance, checks).to_cursor())
        return dg.SkipReason("the first look: alerts begin now")
    url, num_told = os.environ.get(WEBHOOK_VARIABLE, ""), 0
    for alert, after in new_alerts(context.instance, checks, told):
        context.log.error(str(alert))
        if url:
            send(alert, url)  # raises: the tick fails, and the cursor stays before this alert
        context.update_cursor(after.to_cursor())
        num_told += 1
    return dg.SkipReason(f"{num_told} alerts" if num_told else "nothing went wrong since the last look")
