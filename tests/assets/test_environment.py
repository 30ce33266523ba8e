"""Numbers of the environment: a malformed one is named where it is used, and takes no asset away."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from codeft_assets.defs.assets.upstream import upstream_sensor
from codeft_assets.defs.environment import read_count, read_number
from codeft_assets.defs.workspace import Workspace

ROOT = Path(__file__).parents[2]
NUMBERS = ("CODEFT_WORKERS", "CODEFT_POLL_SECONDS", "CODEFT_QUIET_SECONDS", "CODEFT_MINIMUM_CHANGE")


@pytest.mark.parametrize("text", ["two", "-1", "nan", "inf", "1e999"])
def test_what_is_no_number_is_refused_with_its_variable(monkeypatch, text):
    monkeypatch.setenv("CODEFT_X", text)
    with pytest.raises(ValueError, match=rf"CODEFT_X='{text}' is not a number .* unset it for 3"):
        read_number("CODEFT_X", 3)


def test_zero_is_a_number_and_half_a_process_is_none(monkeypatch):
    monkeypatch.setenv("CODEFT_X", "0")
    assert read_count("CODEFT_X", 3) == 0
    monkeypatch.setenv("CODEFT_X", "1.5")
    with pytest.raises(ValueError, match=r"CODEFT_X=1.5 is not a whole number"):
        read_count("CODEFT_X", 3)


def test_the_workers_variable_is_named(monkeypatch):
    monkeypatch.setenv("CODEFT_WORKERS", "two")
    with pytest.raises(
        ValueError, match="CODEFT_WORKERS='two' .* unset it for one process on the sample, else one a core"
    ):
        _ = Workspace().num_workers
    assert Workspace(workers=2).num_workers == 2


def test_a_malformed_interval_fails_the_tick_that_it_is_for(monkeypatch):
    monkeypatch.setenv("CODEFT_POLL_SECONDS", "hourly")
    with pytest.raises(ValueError, match="CODEFT_POLL_SECONDS='hourly'"):
        upstream_sensor(dg.build_sensor_context(resources={"workspace": Workspace()}))


def test_no_malformed_number_unloads_the_code_location():
    environment = os.environ | dict.fromkeys(NUMBERS, "two") | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    load = "from codeft_assets.definitions import defs; print(len(defs.resolve_asset_graph().get_all_asset_keys()))"
    done = subprocess.run([sys.executable, "-c", load], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 50
