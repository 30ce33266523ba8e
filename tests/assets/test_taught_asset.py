"""The asset of a teacher's exercises: off by default, and a source of the catalogue once there are some."""

import gzip
import json
import os
import subprocess
import sys

import dagster as dg
import pytest

from codeft_assets.defs.assets.taught import taught
from codeft_assets.defs.messages import program_client
from codeft_assets.defs.workspace import Workspace
from codeft_assets.own_sources import SourcesFileError, taught_sources
from tests.assets.fake_endpoint import serving
from tests.assets.test_endpoint_teacher import GOOD, SYNTAX, Teacher


def materialize(root, **config):
    resources = {"workspace": Workspace(root=str(root)), "pipes": program_client()}
    run_config = {"ops": {"exercises__taught": {"config": config}}}
    result = dg.materialize([taught], resources=resources, run_config=run_config)
    [event] = result.get_asset_materialization_events()
    return {name: found.value for name, found in event.materialization.metadata.items()}


def test_without_a_teacher_it_writes_nothing_and_says_how_to_turn_it_on(tmp_path):
    metadata = materialize(tmp_path)
    assert metadata["state"] == "off"
    assert "teacher" in metadata["how_to_turn_it_on"]
    assert not list(tmp_path.rglob("*.gz"))


def test_with_a_teacher_its_exercises_become_a_source_with_their_costs(tmp_path, monkeypatch):
    with serving(Teacher([GOOD, SYNTAX])) as url:
        metadata = materialize(tmp_path, teacher=url, model="m", count=2, solutions=2)
    assert (metadata["state"], metadata["num_made"], metadata["num_passed"]) == ("on", 2, 1)
    assert metadata["input_tokens"] == 400
    assert metadata["num_requests"] >= 4
    monkeypatch.setenv("CODEFT_HOME", str(tmp_path))
    [source] = taught_sources()
    upstream = source.origin.resolve()
    [(_, row)] = source.origin.read(upstream, upstream.files[0])
    [draft] = source.adapter(row)
    assert (draft.language, draft.text.count(">>>")) == ("python", 1)
    names = "from codeft_assets.sources import SOURCES; print(*SOURCES)"
    command = [sys.executable, "-c", names]
    printed = subprocess.run(command, env=os.environ | {"CODEFT_HOME": str(tmp_path)}, capture_output=True, check=True)
    assert b"exercises-taught" in printed.stdout


def test_a_named_folder_without_exercises_is_an_error_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEFT_TAUGHT", str(tmp_path))
    with pytest.raises(SourcesFileError, match=r"python -m codeft_assets\.teachers"):
        taught_sources()
    (tmp_path / "exercises.jsonl.gz").write_bytes(gzip.compress(json.dumps({"text": "x"}).encode()))
    assert [source.name for source in taught_sources()] == ["exercises-taught"]
