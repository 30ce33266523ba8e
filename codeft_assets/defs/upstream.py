"""The upstream datasets as observable assets, and the sensor that polls them."""

import json
import os
import warnings

import dagster as dg

from codeft_assets.defs.automation import OBSERVATION_INTERVAL_SECONDS
from codeft_assets.defs.workspace import Workspace
from codeft_assets.origins import Upstream
from codeft_assets.origins.errors import UpstreamError
from codeft_assets.sources import SOURCES, Source

DATA_VERSION_TAG = "dagster/data_version"
SENSOR_NAME = "upstream_sensor"


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


def build_upstream_asset(source: Source) -> dg.SourceAsset:
    """Return the observable asset of one source."""

    @dg.observable_source_asset(
        key=upstream_key(source.name),
        group_name="upstream",
        description=f"{source.about} Observed, not computed: its version is a fingerprint of the data files, so an "
        f"edited README is no change.",
        metadata={"homepage": dg.MetadataValue.url(source.homepage), "license": source.license},
        tags={"domain": source.domain, "format": source.format},
    )
    def observe(workspace: Workspace) -> dg.ObserveResult:
        upstream = workspace.origin(source).resolve()
        return dg.ObserveResult(data_version=dg.DataVersion(upstream.fingerprint), metadata=_metadata(source, upstream))

    return observe


def poll(workspace: Workspace, seen: dict[str, str], log: object) -> tuple[list[dg.AssetObservation], dict[str, str]]:
    """Return an observation for every source whose data files changed, and the fingerprints now known.

    A source that cannot be read keeps its last fingerprint and does not hold up the others; why is logged.
    """
    events, known = [], dict(seen)
    for source in SOURCES.values():
        try:
            upstream = workspace.origin(source).resolve()
        except UpstreamError as error:
            log.warning(f"upstream/{source.name} was not observed: {error}")  # type: ignore[attr-defined]
            continue
        if known.get(source.name) != upstream.fingerprint:
            events.append(observation(source, upstream))
            known[source.name] = upstream.fingerprint
    return events, known


@dg.sensor(
    name=SENSOR_NAME,
    minimum_interval_seconds=int(os.environ.get("CODEFT_POLL_SECONDS") or OBSERVATION_INTERVAL_SECONDS),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks every upstream for its data files once an hour and reports those that changed. Starts no run.",
)
def upstream_sensor(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.SensorResult:
    """Report changed upstreams."""
    seen = json.loads(context.cursor) if context.cursor else {}
    events, known = poll(workspace, seen, context.log)
    return dg.SensorResult(asset_events=events, cursor=json.dumps(known, sort_keys=True))


with warnings.catch_warnings():
    # observable assets are marked beta in Dagster 1.13; seventeen warnings say no more than this line
    warnings.simplefilter("ignore", dg.BetaWarning)
    UPSTREAM_ASSETS = [build_upstream_asset(source) for source in SOURCES.values()]
