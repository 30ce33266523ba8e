"""Alerts: every failed run and every failed check, written to the log and sent to a webhook where one is set.

The webhook's URL is a secret: it comes from ``CODEFT_ALERT_WEBHOOK`` only and is never part of a log line, of metadata
or of an error. What could not be sent is sent at the next look.
"""

import http.client
import json
import os
import urllib.parse
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import dagster as dg

WEBHOOK_VARIABLE = "CODEFT_ALERT_WEBHOOK"
INTERVAL_SECONDS = 60
TIMEOUT_SECONDS = 10.0
MAX_EVENTS = 200
_MAX_CHARS = 600
_EVENTS = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.ASSET_CHECK_EVALUATION)


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


def alerts_after(instance: dg.DagsterInstance, position: int) -> Iterator[tuple[int, Alert]]:
    """Yield what went wrong since an event's position in the log, with the position of each."""
    found = []
    for kind in _EVENTS:
        wanted = dg.EventRecordsFilter(kind, after_cursor=position)
        records = instance.event_log_storage.get_event_records(wanted, limit=MAX_EVENTS, ascending=True)
        found += [(record.storage_id, record.event_log_entry) for record in records]
    for storage_id, entry in sorted(found, key=lambda pair: pair[0])[:MAX_EVENTS]:
        alert = _alert(entry)
        if alert is not None:
            yield storage_id, alert


def _alert(entry: dg.EventLogEntry) -> Alert | None:
    event = entry.dagster_event
    if event is None:
        return None
    if event.event_type is dg.DagsterEventType.RUN_FAILURE:
        text = _shortened(event.message or "")
        return Alert(kind="run failed", name=event.job_name or "", severity="ERROR", text=text, run_id=entry.run_id)
    check = event.asset_check_evaluation_data
    if check.passed:
        return None
    text = _shortened(check.description or "see the check's metadata in the web UI")
    name = f"{check.asset_key.to_user_string()}: {check.check_name}"
    return Alert(kind="check failed", name=name, severity=check.severity.value, text=text, run_id=entry.run_id)


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}…"


def send(alert: Alert, url: str) -> None:
    """Post an alert as JSON; ``text`` is what chat services show.

    Raises:
        AlertError: the URL is none, nobody answers, or the answer is an error. The message does not hold the URL.
    """
    parts = urllib.parse.urlsplit(url)
    kind = {"https": http.client.HTTPSConnection, "http": http.client.HTTPConnection}.get(parts.scheme)
    if kind is None or not parts.hostname:
        raise AlertError(f"{WEBHOOK_VARIABLE} is no http or https URL; set it to your service's webhook or unset it")
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)
    target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    body = json.dumps(asdict(alert) | {"text": str(alert)})
    try:
        connection.request("POST", target, body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        # its own text may hold the host or the path, so only its kind is told, and nothing is chained to it
        raise AlertError(f"the webhook of {WEBHOOK_VARIABLE} cannot be reached ({type(error).__name__})") from None
    finally:
        connection.close()
    if status >= 300:
        raise AlertError(f"the webhook of {WEBHOOK_VARIABLE} answered {status}; look at its address and its service")


@dg.sensor(
    name="alerts",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Logs every failed run and failed check, and posts it to the webhook in {WEBHOOK_VARIABLE} if set. "
    f"Starts no run.",
)
def alert_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Report what went wrong since the last look; at the first look, only what comes after it."""
    position = _position(context)
    url = os.environ.get(WEBHOOK_VARIABLE, "")
    num_sent = 0
    for storage_id, alert in alerts_after(context.instance, position):
        if url:
            send(alert, url)  # raises: the cursor stays before this alert
        context.log.error(str(alert))
        context.update_cursor(str(storage_id))
        num_sent += 1
    if num_sent == 0:
        context.update_cursor(str(max(position, _newest(context.instance))))
    return dg.SkipReason(f"{num_sent} alerts" if num_sent else "nothing went wrong since the last look")


def _position(context: dg.SensorEvaluationContext) -> int:
    cursor = context.cursor or ""
    return int(cursor) if cursor.isdigit() else _newest(context.instance)


def _newest(instance: dg.DagsterInstance) -> int:
    newest = [
        record.storage_id
        for kind in _EVENTS
        for record in instance.event_log_storage.get_event_records(dg.EventRecordsFilter(kind), limit=1)
    ]
    return max(newest, default=0)
