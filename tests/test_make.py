"""``make`` in folders with any name, and what ``make clean`` may delete: tried on a copy with real targets."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codeft_assets.command import data_root
from codeft_assets.defs.optional import PARTS
from codeft_assets.store.data_root import STEPS
from tests import names

ROOT = Path(__file__).parents[1]
FOLDERS = ("plain", "two words", "größe 数据", "it's (1) & co")


@pytest.fixture(params=FOLDERS)
def place(request, tmp_path):
    """A copy of what make's own recipes need; its virtual environment is this one, and newer than all that it is of."""
    folder = tmp_path / request.param
    shutil.copytree(ROOT / "codeft_assets" / "command", folder / "codeft_assets" / "command")
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "codeft_assets/dagster.yaml"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("__init__.py", "definitions.py"):
        shutil.copy(ROOT / "codeft_assets" / name, folder / "codeft_assets" / name)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (folder / ".venv" / ".installed").touch()
    return folder


def make(place, *arguments, folder=None, answer=None, **environment):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CODEFT_", "DAGSTER_", "MAKE"))}
    return subprocess.run(
        ["make", f"PYTHON={sys.executable}", *arguments], cwd=folder or place, env=kept | environment,
        input=answer, capture_output=True, text=True, check=False,
    )  # fmt: skip


def fill(home):
    """Put one file into each kind of place that codeFT and Dagster write to, and what is a user's beside them."""
    ours = [home / "tables/documents/a/manifest.json", home / "files/model/checkpoint/result.json"]
    ours += [home / "catalog.duckdb", home / "dagster/storage/x/event.log", home / "dagster/history/runs.db"]
    ours += [home / "tables/steps/a/manifest.json", home / "files/parts/scores/x.json", home / "dagster/command.log"]
    ours += [home / "dagster/command-2.log"]
    ours += [home / "locks/model/checkpoint/.lock"]
    theirs = [home / "sources.toml", home / "files/holiday/beach.jpg", home / "dagster/notes.md", home / "notes.md"]
    for path in (*ours, *theirs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return ours, theirs


def test_every_target_that_installs_nothing_works_whatever_the_folder_is_called(place):
    assert "make" not in make(place, "help").stderr
    assert make(place, "setup").returncode == 0
    assert (place / ".codeft" / "dagster" / "dagster.yaml").is_file()
    assert make(place, "clean", "FORCE=1").returncode == 0
    assert not (place / ".codeft").exists()
    assert not (place / ".venv").exists()


def test_the_words_of_a_path_are_not_paths(place):
    beside = place.parent / place.name.split()[0]
    (beside / "thesis").mkdir(parents=True, exist_ok=True)
    home = place.parent / "two words of a root"
    ours, _ = fill(home)
    (place.parent / "two").mkdir(exist_ok=True)
    make(place, "clean", "FORCE=1", CODEFT_HOME=str(home))
    assert (beside / "thesis").exists()
    assert (place.parent / "two").exists()
    assert not any(path.exists() for path in ours)


def test_only_what_the_project_made_is_deleted(tmp_path):
    ours, theirs = fill(tmp_path)
    said = "\n".join(data_root.remove(tmp_path, tmp_path / "dagster", force=True))
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in theirs)
    assert "sources.toml" in said


def test_a_root_of_nobodys_is_left(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "thesis.tex").write_text("x")
    assert "nothing here" in next(data_root.remove(tmp_path, tmp_path / "dagster", force=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "thesis.tex"]


@pytest.mark.parametrize("answer", ["", "yes\n"])
def test_without_a_terminal_nothing_is_deleted_unless_forced(tmp_path, monkeypatch, answer):
    reading, writing = os.pipe()
    os.write(writing, answer.encode())
    os.close(writing)
    ours, _ = fill(tmp_path)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        said = list(data_root.remove(tmp_path, tmp_path / "dagster", force=False))
    assert "FORCE=1" in said[-1]
    assert all(path.exists() for path in ours)


@pytest.mark.parametrize(("answer", "goes"), [("yes\n", True), ("y\n", False), ("\n", False)])
def test_at_a_terminal_only_yes_is_yes(tmp_path, monkeypatch, answer, goes):
    main, terminal = os.openpty()
    os.write(main, answer.encode())
    ours, _ = fill(tmp_path)
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        list(data_root.remove(tmp_path, tmp_path / "dagster", force=False))
    os.close(main)
    assert any(path.exists() for path in ours) is not goes


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path):
    home, disk = tmp_path / "home", tmp_path / "disk"
    (disk / "model").mkdir(parents=True)
    (home / "files").mkdir(parents=True)
    (home / "files" / "model").symlink_to(disk / "model")
    list(data_root.remove(home, home / "dagster", force=True))
    assert (disk / "model").exists()
    assert not home.exists()


def test_make_from_elsewhere_touches_nothing(tmp_path):
    (tmp_path / "build").mkdir()
    done = make(ROOT, "-f", str(ROOT / "Makefile"), "clean", "FORCE=1", folder=tmp_path)
    assert done.returncode != 0
    assert "run make in the folder of codeFT" in done.stderr
    assert (tmp_path / "build").exists()


def test_a_python_that_is_too_old_is_refused_before_anything_is_installed(place):
    shutil.rmtree(place / ".venv")
    old = place.parent / "python3.10"
    code = 'import sys; sys.version_info = (3, 10, 4); sys.version = "3.10.4 (main)"; exec(sys.argv.pop(1))'
    old.write_text(f"#!/bin/sh\nshift\nexec '{sys.executable}' -c '{code}' \"$@\"\n")
    old.chmod(0o755)
    done = make(place, "setup", f"PYTHON={old}")
    assert "codeFT needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert "3.10.4" in done.stderr
    assert not (place / ".venv").exists()


def test_every_group_of_assets_is_removed():
    optional = [key for keys in PARTS.values() for key in keys]
    assert {key.split("/")[0] for key in (*names.assets(), *optional, STEPS)} <= set(data_root.GROUPS)


def test_the_instance_follows_the_package_until_it_is_changed_by_hand(tmp_path, monkeypatch):
    shipped = tmp_path / "shipped.yaml"
    shipped.write_text("telemetry: {enabled: false}\n")
    monkeypatch.setattr(data_root, "SHIPPED", shipped)
    home = tmp_path / "dagster"
    assert data_root.prepare(home) == ""
    shipped.write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    assert data_root.prepare(home) == ""
    assert "nux" in (home / "dagster.yaml").read_text()
    with (home / "dagster.yaml").open("a") as file:
        file.write("mine: 1\n")
    assert "left so" in data_root.prepare(home)
    assert "mine" in (home / "dagster.yaml").read_text()


def test_an_instance_file_of_before_the_mark_is_kept_beside_the_new_one(tmp_path):
    (tmp_path / "dagster.yaml").write_text("concurrency: {}\n")
    assert "dagster.yaml.before" in data_root.prepare(tmp_path)
    assert (tmp_path / "dagster.yaml.before").read_text() == "concurrency: {}\n"
