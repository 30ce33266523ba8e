"""Of two runs that make the same files the second waits, says so to the person, and finds the work done."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from codeft_assets.store.data_root import Store

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from codeft_assets.store.data_root import Store
store = Store(sys.argv[1])
with store.table(sys.argv[3]).lock() if sys.argv[2] == "table" else store.lock(sys.argv[3]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(root, kind, key):
    """Yield another process that writes ``key`` until its standard input is closed."""
    command = [sys.executable, "-c", HOLD, root, kind, key]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_run_says_for_tables_and_for_programs_that_it_waits(tmp_path):
    root, table, folder = str(tmp_path / ".codeft"), "documents/o1-journey", "scores/reference"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CODEFT_", "DAGSTER_"))}
    command = [sys.executable, "-m", "codeft_assets.command", "run", f"upstream/o1-journey,{table},{folder}"]
    with held(root, "table", table) as first, held(root, "folder", folder) as second:
        holders = {f"writing table '{table}'": first, f"writing {folder}": second}
        run = subprocess.Popen(
            command, cwd=tmp_path, env=kept | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
        )
        lines = []
        for line in run.stdout:
            lines.append(line)
            for words in [words for words in holders if f"warning: another run is {words}: waiting" in line]:
                holders.pop(words).stdin.close()
        for process in holders.values():
            process.stdin.close()
    assert (run.wait(), holders) == (0, {}), "".join(lines)


def test_a_lock_stays_when_a_program_replaces_the_folder(tmp_path):
    store = Store(str(tmp_path))
    with store.lock("model/tokenizer"):
        assert list(store.folder("model/tokenizer").iterdir()) == []


def test_a_run_does_not_wait_for_itself_where_its_files_are_published(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEFT_CACHE", str(tmp_path))
    store = Store("memory://waiting/codeft")
    with store.lock("scoreboard"):
        (store.folder("scoreboard") / "page").write_text("page")
        store.publish()
    assert (store.folder("scoreboard") / "page").read_text() == "page"
