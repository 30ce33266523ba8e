"""The upstream datasets as observable assets, and the sensor that polls them.

Every look ends in something a person can see: a new data version, a check that says why a source could not be read, or,
once a day, that it was looked at and is what it was. Freshness counts these looks.
"""

import json
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import timedelta

import dagster as dg

from codeft_assets.defs.automation.rules import OBSERVATION_INTERVAL_SECONDS
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
"""For one look at all sources: Dagster gives up on a sensor after 60 s, and would lose what the others said."""
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=3), warn_window=timedelta(days=1, hours=3))
"""Looked at once a day at least: a warning after a missed day, a failure after three."""

Event = dg.AssetObservation | dg.AssetMaterialization | dg.AssetCheckEvaluation


def upstream_key(name: str) -> dg.AssetKey:
    """Return the key of the upstream asset of a source."""
    return dg.AssetKey(["upstream", name])


def observation(source: Source, upstream: Upstream) -> dg.AssetObservation:
    """Return the event that says what upstream looks like; its version is a fingerprint of the data files."""
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
        "num_files": dg.MetadataValue.int(len(upstream.files)),
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
            raise dg.Failure(description=str(error), allow_retries=False) from error
        return dg.ObserveResult(
            data_version=dg.DataVersion(upstream.fingerprint),
            metadata=_metadata(source, upstream),
            check_results=[dg.AssetCheckResult(passed=True, check_name=CHECK_NAME)],
        )

    return observe


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the sensor remembers between two looks, each by source name."""

    fingerprints: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    """Why a source could not be read at the last look; sources that could have no entry."""
    reported_at: Mapping[str, float] = field(default_factory=dict)
    """When a source was last said to be what it was, in seconds since 1970."""

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "Seen":
        """Return what a cursor holds; an unreadable one holds nothing: looking again starts no run."""
        try:
            return cls(**json.loads(cursor or "{}"))
        except (ValueError, TypeError):
            return cls()


def poll(
    workspace: Workspace, seen: Seen, now: float, log: object, *, deadline_seconds: float = DEADLINE_SECONDS
) -> tuple[list[Event], Seen]:
    """Return what there is to say of every source, and what is now known.

    A source that cannot be read keeps its last fingerprint and does not hold up the others; a failed check says why.
    """
    events: list[Event] = []
    fingerprints, errors, reported_at = dict(seen.fingerprints), {}, dict(seen.reported_at)
    for source, upstream in _look(workspace, deadline_seconds):
        name = source.name
        if isinstance(upstream, Exception):
            errors[name] = str(upstream)
            log.warning(f"upstream/{name} was not observed: {upstream}")  # type: ignore[attr-defined]
            if seen.errors.get(name) != errors[name]:
                events.append(_reachable(name, why=errors[name]))
            continue
        if name in seen.errors or name not in seen.reported_at:
            events.append(_reachable(name))
        if fingerprints.get(name) != upstream.fingerprint:
            events.append(observation(source, upstream))
            fingerprints[name] = upstream.fingerprint
        if not 0 <= now - reported_at.get(name, -HEARTBEAT_SECONDS) < HEARTBEAT_SECONDS:
            events.append(_looked_at(source, upstream))
            reported_at[name] = now
    return events, Seen(fingerprints=fingerprints, errors=errors, reported_at=reported_at)


def _look(workspace: Workspace, deadline_seconds: float) -> Iterator[tuple[Source, Upstream | Exception]]:
    """Ask all sources at once; one that does not answer in time is an error like another."""
    pool = ThreadPoolExecutor(len(SOURCES), thread_name_prefix="look")
    asked = [(source, pool.submit(workspace.origin(source).resolve)) for source in SOURCES.values()]
    pool.shutdown(wait=False)
    ends = time.monotonic() + deadline_seconds
    for source, answer in asked:
        try:
            yield source, answer.result(max(ends - time.monotonic(), 0))
        except UpstreamError as error:
            yield source, error
        except TimeoutError:
            message = f"no answer within {deadline_seconds:.0f} s; it is asked again at the next look"
            yield source, UnreachableUpstreamError(message)


def _reachable(name: str, *, why: str = "") -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=upstream_key(name),
        check_name=CHECK_NAME,
        passed=not why,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"why": dg.MetadataValue.text(why)} if why else {},
        description=why or None,
    )


def _looked_at(source: Source, upstream: Upstream) -> dg.AssetMaterialization:
    """Freshness policies count materializations only; with the same data version this one is no change."""
    return dg.AssetMaterialization(
        upstream_key(source.name),
        description="Looked at: the data files are those of the last observation.",
        metadata=_metadata(source, upstream),
        tags={DATA_VERSION_TAG: upstream.fingerprint},
    )


@dg.sensor(
    name=SENSOR_NAME,
    minimum_interval_seconds=int(os.environ.get("CODEFT_POLL_SECONDS") or OBSERVATION_INTERVAL_SECONDS),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks every upstream for its data files once an hour and reports those that changed. Starts no run.",
)
def upstream_sensor(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.SensorResult:
    """Report changed upstreams."""
    events, seen = poll(workspace, Seen.from_cursor(context.cursor), time.time(), context.log)
    return dg.SensorResult(asset_events=events, cursor=json.dumps(asdict(seen), sort_keys=True))


with warnings.catch_warnings():
    # observable assets are marked beta in Dagster 1.13; seventeen warnings say no more than this line
    warnings.simplefilter("ignore", dg.BetaWarning)
    UPSTREAM_ASSETS = [build_upstream_asset(source) for source in SOURCES.values()]
