"""Executors: chosen by name, and a unit that fails is named wherever it ran."""

import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from codeft_assets.defs.workspace import Workspace
from codeft_assets.store import ray_executor
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import map_shards
from codeft_assets.store.executors import find_executor
from codeft_assets.store.ray_executor import interruptible
from tests.assets.test_engine import STAGE, double, fail_at_third, units


def test_an_unknown_executor_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"'rays' is not one of local, processes, ray, ray://host:port; set CODEFT_EX"):
        find_executor("rays", 1)


@pytest.mark.parametrize("field", ["dask", ""])
def test_the_launchpad_comes_before_the_environment(monkeypatch, field):
    monkeypatch.setenv("CODEFT_EXECUTOR", "slurm")
    with pytest.raises(ValueError, match=f"executor '{field or 'slurm'}' is not one of"):
        _ = Workspace(executor=field).start_executor


def test_without_ray_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    table = Store(str(tmp_path)).table("doubled")
    with pytest.raises(ValueError, match=r"'ray' needs Ray: .*pip install -e '\.\[cluster\]', or set CODEFT_EXECUTOR"):
        map_shards(double, units(tmp_path / "log"), table, stage=STAGE, executor=find_executor("ray", 1))


def test_an_address_where_nothing_listens_is_refused_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"ray://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(
            ConnectionError, match=rf"no Ray cluster answers at '{address}' \(.*refused\); start one with"
        ):
            ray_executor.connect(None, address, 1)


@pytest.mark.parametrize("name", ["local", "processes"])
def test_the_unit_that_fails_is_named_and_the_error_stays_what_it_was(tmp_path, name):
    table = Store(str(tmp_path)).table("doubled")
    with pytest.raises(OSError, match="No space left") as failure:
        map_shards(fail_at_third, units(tmp_path / "log"), table, stage=STAGE, executor=find_executor(name, 2))
    assert failure.value.__notes__ == ["in unit 'unit 3' of table 'doubled'; the units that finished are kept"]


def test_a_node_with_other_code_computes_nothing(tmp_path):
    calls = []
    with pytest.raises(ray_executor.OtherCodeError, match="the driver 0123456789abcdef; install the same versions"):
        ray_executor.run_checked("0123456789abcdef", calls.append, 1)
    assert calls == []
    ray_executor.run_checked(ray_executor.environment_hash(), calls.append, 1)
    assert calls == [1]


class Interrupted(BaseException):
    """As Dagster's."""


def interrupted(number, frame):
    raise Interrupted


def wait_as_ray():
    """Ray's wait looks for signals, and hands on a KeyboardInterrupt alone."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise
    except Interrupted:
        return


def test_what_the_handler_of_a_signal_raises_ends_a_wait_for_ray():
    before = signal.signal(signal.SIGINT, interrupted)
    try:
        with pytest.raises(Interrupted), interruptible():
            wait_as_ray()
        assert signal.getsignal(signal.SIGINT) is interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_wait_for_ray_in_another_thread_touches_no_handler():
    before = signal.getsignal(signal.SIGINT)
    with ThreadPoolExecutor(1) as other:
        waiting = interruptible()
        other.submit(waiting.__enter__).result()
        assert signal.getsignal(signal.SIGINT) is before
