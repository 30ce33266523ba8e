"""The upstream datasets as observable assets, and the sensor that polls them.

Every poll leaves something that a person can see: a new data version, a failed check with the reason why a source could
not be read, or, once a day, a heartbeat: polled and unchanged. Freshness counts heartbeats.
"""

import json
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import timedelta

import dagster as dg

from codeft_assets.defs.automation.rules import OBSERVATION_INTERVAL_SECONDS, POLL_VARIABLE
from codeft_assets.defs.environment import loaded_number, read_number
from codeft_assets.defs.failures import ExplainedError
from codeft_assets.defs.workspace import Workspace
from codeft_assets.origins import Upstream
from codeft_assets.origins.errors import UnreachableUpstreamError, UpstreamError
from codeft_assets.source import Source
from codeft_assets.sources import SOURCES

DATA_VERSION_TAG = "dagster/data_version"
SENSOR_NAME = "upstream_sensor"
CHECK_NAME = "reachable"
HEARTBEAT_SECONDS = 86400
DEADLINE_SECONDS = 45.0
"""For one poll of all sources: Dagster ends a sensor after 60 s, and the answers of all sources would be lost."""
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=3), warn_window=timedelta(days=1, hours=3))
"""Polled once a day at least: a warning after a missed day, a failure after three."""

Event = dg.AssetObservation | dg.AssetMaterialization | dg.AssetCheckEvaluation


def upstream_key(name: str) -> dg.AssetKey:
    """Return the key of the upstream asset of a source."""
    return dg.AssetKey(["upstream", name])


def observation(source: Source, upstream: Upstream) -> dg.AssetObservation:
    """Return the event that records the state of an upstream; its version is a fingerprint of the data files."""
    return dg.AssetObservation(
        upstream_key(source.name),
        description=upstream.note or None,
        metadata=_metadata(source, upstream),
        tags={DATA_VERSION_TAG: upstream.fingerprint},
    )


def _metadata(source: Source, upstream: Upstream) -> dict[str, dg.MetadataValue]:
    num_bytes = sum(file.size_bytes or 0 for file in upstream.files)
    metadata: dict[str, dg.MetadataValue] = {
        "revision": dg.MetadataValue.text(upstream.revision),
        "num_units": dg.MetadataValue.int(len(upstream.files)),  # a file of rows, or a folder of texts
        "num_bytes": dg.MetadataValue.int(num_bytes),
        "homepage": dg.MetadataValue.url(source.homepage),
    }
    return metadata | ({"note": dg.MetadataValue.text(upstream.note)} if upstream.note else {})


def build_upstream_asset(source: Source) -> dg.AssetsDefinition:
    """Return the observable asset of one source, with the check that it can be read."""
    key = upstream_key(source.name)
    spec = dg.AssetSpec(
        key,
        group_name="upstream",
        description=f"{source.about} Observed, not computed: its version is a fingerprint of the data files, so an "
        f"edited README is no change.",
        metadata={"homepage": dg.MetadataValue.url(source.homepage), "license": source.license},
        tags={"domain": source.domain, "format": source.format},
        freshness_policy=FRESHNESS,
    )
    check = dg.AssetCheckSpec(
        CHECK_NAME, asset=key, description="The upstream answers and lists its data files; if not, why and what to do."
    )

    @dg.multi_observable_source_asset(
        specs=[spec], check_specs=[check], name=f"upstream__{source.name}".replace("-", "_")
    )
    def observe(workspace: Workspace) -> dg.ObserveResult:
        try:
            upstream = workspace.origin(source).resolve()
        except UpstreamError as error:
            raise ExplainedError(str(error)) from error
        return dg.ObserveResult(
            data_version=dg.DataVersion(upstream.fingerprint),
            metadata=_metadata(source, upstream),
            check_results=[dg.AssetCheckResult(passed=True, check_name=CHECK_NAME)],
        )

    return observe


@dataclass(frozen=True, slots=True, kw_only=True)
class PollState:
    """The sensor's memory between two polls, each field by source name."""

    fingerprints: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    """The error of each source that could not be read at the last poll."""
    reported_at: Mapping[str, float] = field(default_factory=dict)
    """Time of a source's last heartbeat, in seconds since 1970."""

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "PollState":
        """Return the parsed cursor; an unreadable one is empty: polling again starts no run."""
        try:
            return cls(**json.loads(cursor or "{}"))
        except (ValueError, TypeError):
            return cls()


def poll(
    workspace: Workspace, state: PollState, now: float, log: object, *, deadline_seconds: float = DEADLINE_SECONDS
) -> tuple[list[Event], PollState]:
    """Return the events of all sources, and the state after this poll.

    A source that cannot be read keeps its last fingerprint and does not hold up the others; a failed check has the
    reason.
    """
    events: list[Event] = []
    fingerprints, errors, reported_at = dict(state.fingerprints), {}, dict(state.reported_at)
    for source, upstream in _resolve_all(workspace, deadline_seconds):
        name = source.name
        if isinstance(upstream, Exception):
            errors[name] = str(upstream)
            log.warning(f"upstream/{name} was not observed: {upstream}")  # type: ignore[attr-defined]
            if state.errors.get(name) != errors[name]:
                events.append(_reachability(name, why=errors[name]))
            continue
        if name in state.errors or name not in state.reported_at:
            events.append(_reachability(name))
        if fingerprints.get(name) != upstream.fingerprint:
            events.append(observation(source, upstream))
            fingerprints[name] = upstream.fingerprint
        if not 0 <= now - reported_at.get(name, -HEARTBEAT_SECONDS) < HEARTBEAT_SECONDS:
            events.append(_heartbeat(source, upstream))
            reported_at[name] = now
    return events, PollState(fingerprints=fingerprints, errors=errors, reported_at=reported_at)


def _resolve_all(workspace: Workspace, deadline_seconds: float) -> Iterator[tuple[Source, Upstream | Exception]]:
    """Resolve all sources in parallel; one that does not answer in time is an error like another."""
    pool = ThreadPoolExecutor(len(SOURCES), thread_name_prefix="poll")
    pending = [(source, pool.submit(workspace.origin(source).resolve)) for source in SOURCES.values()]
    pool.shutdown(wait=False)
    ends = time.monotonic() + deadline_seconds
    for source, future in pending:
        try:
            yield source, future.result(max(ends - time.monotonic(), 0))
        except UpstreamError as error:
            yield source, error
        except TimeoutError:
            message = f"no answer within {deadline_seconds:.0f} s; it is polled again at the next tick"
            yield source, UnreachableUpstreamError(message)


def _reachability(name: str, *, why: str = "") -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=upstream_key(name),
        check_name=CHECK_NAME,
        passed=not why,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"why": dg.MetadataValue.text(why)} if why else {},
        description=why or None,
    )


def _heartbeat(source: Source, upstream: Upstream) -> dg.AssetMaterialization:
    """Freshness policies count materializations only; with the same data version this one is no change."""
    return dg.AssetMaterialization(
        upstream_key(source.name),
        description="Looked at: the data files are those of the last observation.",
        metadata=_metadata(source, upstream),
        tags={DATA_VERSION_TAG: upstream.fingerprint},
    )


@dg.sensor(
    name=SENSOR_NAME,
    minimum_interval_seconds=int(loaded_number(POLL_VARIABLE, OBSERVATION_INTERVAL_SECONDS)),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks every upstream for its data files once an hour and reports those that changed. Starts no run.",
)
def upstream_sensor(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.SensorResult:
    """Report changed upstreams, failed checks and heartbeats."""
    read_number(POLL_VARIABLE, OBSERVATION_INTERVAL_SECONDS)  # a malformed one fails here, and not the code location
    events, state = poll(workspace, PollState.from_cursor(context.cursor), time.time(), context.log)
    return dg.SensorResult(asset_events=events, cursor=json.dumps(asdict(state), sort_keys=True))


with warnings.catch_warnings():
    # observable assets are marked beta in Dagster 1.13; a warning per source says no more than this line
    warnings.simplefilter("ignore", dg.BetaWarning)
    UPSTREAM_ASSETS = [build_upstream_asset(source) for source in SOURCES.values()]
