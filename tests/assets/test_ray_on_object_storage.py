"""Units on raylets, tables on a real S3 server: a store that is away is waited for, and the whole path is green."""

import threading
import time

import dagster as dg
import pytest

from codeft_assets.definitions import defs
from codeft_assets.store import mirror
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import map_shards
from codeft_assets.store.executors import find_executor
from tests import test_end_to_end as end_to_end
from tests.assets.raylets import ray_nodes
from tests.assets.test_engine import STAGE, calls, double, units
from tests.object_storage.server import s3_server

pytest.importorskip("ray", reason="the extra `cluster` is not installed")
pytest.importorskip("moto.server", reason="moto[server], the S3 server of this test, is not installed")
pytestmark = pytest.mark.slow
SECONDS_AWAY = 60


@pytest.fixture(scope="module")
def s3():
    with s3_server() as proxy, ray_nodes():  # nodes have the environment of the process that starts them
        yield proxy


@pytest.fixture
def store(s3, tmp_path, monkeypatch, request):
    monkeypatch.setenv(mirror.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(mirror, "_OPENED", {})
    return Store(f"s3://bucket/{request.node.name}")


@pytest.mark.timeout(400)
def test_units_wait_for_a_store_that_is_away_for_a_minute(s3, store, tmp_path):
    undisturbed = map_shards(double, units(tmp_path / "other"), Store(str(tmp_path)).table("doubled"), stage=STAGE)
    s3.down, start = True, time.monotonic()
    threading.Timer(SECONDS_AWAY, lambda: setattr(s3, "down", False)).start()
    on_ray = find_executor("ray", 2)
    found = map_shards(double, units(tmp_path / "log"), store.table("doubled"), stage=STAGE, executor=on_ray)
    assert time.monotonic() - start > SECONDS_AWAY - 1
    assert s3.num["reset"]
    assert found.manifest.content_hash == undisturbed.manifest.content_hash
    assert set(calls(tmp_path / "log")) == {1, 2, 3, 4, 5}


@pytest.mark.timeout(3600)
def test_everything_from_sources_to_scoreboard_on_s3_by_ray(store, tmp_path, monkeypatch):
    monkeypatch.setenv("CODEFT_EXECUTOR", "ray")
    everything = dg.AssetSelection.all() - dg.AssetSelection.groups("upstream")
    result = end_to_end.execute(store.root, everything, {"ops": end_to_end.TRAINING | end_to_end.FEW_ITEMS})
    assert [check.check_name for check in result.get_asset_check_evaluations() if not check.passed] == []
    made = {event.asset_key for event in result.get_asset_materialization_events()}
    assert made == set(defs.resolve_asset_graph().materializable_asset_keys)
    monkeypatch.setenv("CODEFT_EXECUTOR", "local")
    local = Store(str(tmp_path / "local"))
    end_to_end.execute(local.root, end_to_end.CORPUS)
    keys = {table.key for table in local.tables()}
    assert {key: store.table(key).manifest().content_hash for key in keys} == end_to_end.hashes(local.root)
