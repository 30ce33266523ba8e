"""A program on another node: it finds copies of what its command names, and what it wrote comes back, failed or not."""

import json
import os
import pickle
import subprocess
import sys

import pytest

from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import map_shards
from codeft_assets.store.mirror import copies_named_by
from codeft_assets.store.ray_program import describe_program
from tests.assets.test_engine import STAGE, double, units

PROGRAM = """
import os, sys
folder, table = sys.argv[1:3]
assert os.environ["EXTRA"] == folder + "/extra"
assert os.path.exists(table + "/manifest.json")
written = open(folder + "/input").read().upper()
open(folder + "/output", "w").write(written)
with open(os.environ["MESSAGES"], "a") as file:
    file.write("one line\\n")
sys.exit(int(sys.argv[3]))
"""
NODE = """
import pickle, sys
from codeft_assets.store import ray_program
program = pickle.load(open(sys.argv[1], "rb"))
ray_program.DAGSTER_PIPES_MESSAGES_ENV_VAR, ray_program.encode_param = "MESSAGES", lambda found: found["path"]
for line in ray_program.run_program(program):
    print(line.decode())
"""


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A data root by URL, with a folder of files and a table, and this machine's copies of them."""
    monkeypatch.setenv("CODEFT_CACHE", str(tmp_path / "driver"))
    for key in ("model/checkpoint", "scores/other"):  # an object store has no folders, a file system needs them
        (tmp_path / "bucket/files" / key).mkdir(parents=True)
    found = Store(f"file://{tmp_path}/bucket")
    map_shards(double, units(tmp_path / "log"), found.table("doubled"), stage=STAGE)
    (found.folder("model/checkpoint") / "input").write_text("text")
    found.folder("scores/other")
    found.publish()
    return found


def run_on_node(store, tmp_path, code):
    folder, table = store.folder("model/checkpoint"), store.local_table("doubled")
    command = [sys.executable, "-c", PROGRAM, str(folder), str(table), str(code)]
    program = describe_program("model/checkpoint", command, {"EXTRA": f"{folder}/extra"}, store.root, None)
    assert (program.folders, program.tables) == (("model/checkpoint",), ("doubled",))
    (tmp_path / "program").write_bytes(pickle.dumps(program))
    environment = os.environ | {"CODEFT_CACHE": str(tmp_path / "node")}
    command = [sys.executable, "-c", NODE, str(tmp_path / "program")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_node_has_copies_of_what_the_command_names_and_publishes_what_was_written(store, tmp_path):
    done = run_on_node(store, tmp_path, 0)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "one line\n"
    assert (store.folder("model/checkpoint") / "output").read_text() == "TEXT"
    copies = {path.parent.name for path in (tmp_path / "node").rglob("*") if path.is_file()}
    assert "checkpoint" in copies
    assert "other" not in copies


def test_what_a_failed_program_wrote_is_published_and_the_error_says_where_it_ran(store, tmp_path):
    done = run_on_node(store, tmp_path, 3)
    assert f"model/checkpoint ended with code 3 on node {os.uname().nodename}" in done.stderr
    assert (store.folder("model/checkpoint") / "output").read_text() == "TEXT"


def test_only_folders_and_tables_that_a_word_names_are_copied(store):
    folder = store.folder("model/checkpoint")
    store.folder("model/checkpoint-two")
    words = [f"{folder}/runs", "model/checkpoint", json.dumps({"path": "x"})]
    assert copies_named_by(store.root, words) == (("model/checkpoint",), ())
