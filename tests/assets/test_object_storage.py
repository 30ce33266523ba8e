"""Tables and folders on a real S3 server, through faults: the same content hash, and nothing lost."""

import threading
import time

import dagster as dg
import pytest

from codeft_assets.definitions import defs
from codeft_assets.store import mirror
from codeft_assets.store.catalog import catalog_path
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import map_shards
from codeft_assets.store.files import located
from tests import test_end_to_end as end_to_end
from tests.assets.test_engine import STAGE, double, units
from tests.object_storage.server import s3_server

pytest.importorskip("s3fs", reason="the extra `cluster` is not installed")
pytest.importorskip("moto.server", reason="moto[server], the S3 server of this test, is not installed")
pytestmark = pytest.mark.slow
KEY = "model/checkpoint"


@pytest.fixture(scope="module")
def s3():
    with s3_server() as proxy:
        yield proxy


@pytest.fixture
def store(s3, tmp_path, monkeypatch, request):
    monkeypatch.setenv(mirror.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(mirror, "_OPENED", {})
    s3.every, s3.down = {}, False
    s3.num.clear()
    return Store(f"s3://bucket/{request.node.name}")


def run(store, tmp_path):
    """Make a table twice, the second time from kept units, and publish a folder; return what another machine reads."""
    table = store.table("doubled")
    map_shards(double, units(tmp_path / "log"), table, stage=STAGE)
    again = map_shards(double, units(tmp_path / "log"), table, stage=STAGE)
    (store.folder(KEY) / "weights").write_bytes(bytes(range(256)) * 4096)
    store.publish()
    return again.manifest.content_hash, again.num_run


def read(store, tmp_path, monkeypatch):
    monkeypatch.setenv(mirror.CACHE_VARIABLE, str(tmp_path / "other"))
    monkeypatch.setattr(mirror, "_OPENED", {})
    folder = store.folder(KEY)
    return (folder / "weights").read_bytes(), store.table("doubled").read()["number"].to_list()


def forget_clients():
    """The number of tries is a client's, and clients are kept."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    located.cache_clear()


@pytest.fixture
def undisturbed(tmp_path):
    local = Store(str(tmp_path / "local"))
    return run(local, tmp_path)


@pytest.mark.parametrize(
    "faults", [{}, {"error": 4}, {"reset": 5}, {"slow": 3}, {"error": 7, "reset": 5, "slow": 3}], ids=str
)
def test_a_root_on_s3_holds_what_a_local_one_holds(s3, store, tmp_path, monkeypatch, undisturbed, faults):
    s3.every = faults
    assert run(store, tmp_path) == undisturbed == (undisturbed[0], 0)
    weights, numbers = read(store, tmp_path, monkeypatch)
    assert weights == bytes(range(256)) * 4096
    assert sorted(numbers) == sorted(Store(str(tmp_path / "local")).table("doubled").read()["number"].to_list())
    assert all(s3.num[name] for name in faults)


def test_a_store_that_is_away_for_a_while_is_waited_for(s3, store, tmp_path, undisturbed):
    s3.down = True
    threading.Timer(12, lambda: setattr(s3, "down", False)).start()
    start = time.monotonic()
    assert run(store, tmp_path)[0] == undisturbed[0]
    assert time.monotonic() - start > 11
    assert s3.num["reset"]


def test_a_store_that_stays_away_is_an_error_that_keeps_what_is_published(s3, store, tmp_path, monkeypatch):
    run(store, tmp_path)
    (store.folder(KEY) / "weights").write_bytes(b"other")
    forget_clients()
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3.down = True
    with pytest.raises(OSError, match=r"s3://bucket/.*cannot be read or written.*run again: what was published stays"):
        store.publish()
    forget_clients()
    s3.down = False
    assert read(store, tmp_path, monkeypatch)[0] == bytes(range(256)) * 4096


@pytest.mark.timeout(1200)
def test_everything_from_sources_to_scoreboard_on_s3(s3, store, tmp_path, monkeypatch):
    """Every asset and check, then the scoreboard again on a machine that has seen nothing."""
    everything = dg.AssetSelection.all() - dg.AssetSelection.groups("upstream")
    config = {"ops": end_to_end.TRAINING | end_to_end.FEW_ITEMS}
    result = end_to_end.execute(store.root, everything, config)
    assert [check.check_name for check in result.get_asset_check_evaluations() if not check.passed] == []
    made = {event.asset_key for event in result.get_asset_materialization_events()}
    assert made == set(defs.resolve_asset_graph().materializable_asset_keys)
    local = Store(str(tmp_path / "local"))
    end_to_end.execute(local.root, end_to_end.CORPUS)
    keys = {table.key for table in local.tables()}
    assert {key: store.table(key).manifest().content_hash for key in keys} == end_to_end.hashes(local.root)
    monkeypatch.setenv(mirror.CACHE_VARIABLE, str(tmp_path / "other"))
    monkeypatch.setattr(mirror, "_OPENED", {})
    end_to_end.execute(store.root, dg.AssetSelection.assets("scoreboard"))
    pages = {path.name for path in store.folder("scoreboard").iterdir()}
    assert pages >= {"scoreboard.html"}, pages
    assert catalog_path(store).is_relative_to(tmp_path / "other")
