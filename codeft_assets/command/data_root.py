"""The data root as a folder on disk: prepared for Dagster, and removed.

Removal goes by name: only what codeFT and Dagster write there goes; whatever else is in the folder stays. Only the
standard library is needed: ``make clean`` runs without a virtual environment.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from codeft_assets.command.typed import made

_FOLDERS = ("tables", "files", "locks")
GROUPS = (
    *("upstream", "exercises", "documents", "quality", "dedup", "decontamination"),
    *("corpus", "model", "scores", "scoreboard", "selection", "preferences", "steps", "parts"),
)
"""First parts of keys, of assets, steps within them and parts of programs: the folders in ``tables`` and ``files``."""
_DAGSTER = (
    *("dagster.yaml", "dagster.yaml.before", "command.log"),
    *("storage", "history", "schedules", "logs", ".telemetry", ".nux", ".logs_queue"),
)
_TEMPORARY = ".tmp-*"
_LATER_LOGS = "command-*.log"
"""Of runs beside another run."""
SHIPPED = Path(__file__).parents[1] / "dagster.yaml"
_MARK = "# codeft wrote this file; it is replaced by newer versions until you change it. sha256: "


def prepare(dagster_home: Path) -> str:
    """Write the shipped ``dagster.yaml`` into a Dagster home; return a remark for the user, or nothing.

    A file that was changed by hand stays. One of before the mark existed is kept beside the new one.
    """
    path = dagster_home / "dagster.yaml"
    shipped = SHIPPED.read_text(encoding="utf-8")
    content = f"{_MARK}{_hash(shipped)}\n{shipped}"
    found = path.read_text(encoding="utf-8") if path.is_file() else None
    if found == content:
        return ""
    mark, _, rest = (found or "").partition("\n")
    if mark.startswith(_MARK) and mark != _MARK + _hash(rest):
        return "" if rest == shipped else f"{path} was changed by hand and is left so; ours is {SHIPPED}"
    dagster_home.mkdir(parents=True, exist_ok=True)
    remark = ""
    if found is not None and not mark.startswith(_MARK) and found != shipped:
        earlier = path.with_name("dagster.yaml.before")
        earlier.write_text(found, encoding="utf-8")
        remark = f"{path} is now the version of this codeFT; the earlier one is {earlier}"
    temporary = path.with_name(f".tmp-{os.getpid()}-dagster.yaml")
    temporary.write_text(content, encoding="utf-8")
    temporary.replace(path)
    return remark


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def made_paths(home: Path, dagster_home: Path) -> list[Path]:
    """Return the files and folders in a data root that codeFT or Dagster made, by their names."""
    named = [home / folder / group for folder in _FOLDERS for group in GROUPS]
    named += [home / "catalog.duckdb", *(dagster_home / name for name in _DAGSTER)]
    named += dagster_home.glob(_LATER_LOGS)
    named += [path for folder in (home, dagster_home) for path in folder.glob(_TEMPORARY)]
    return [path for path in named if os.path.lexists(path)]


def remove(home: Path, dagster_home: Path, *, force: bool) -> Iterator[str]:
    """Delete what a data root holds of ours, after asking; yield the lines to show."""
    paths = made_paths(home, dagster_home)
    if not paths:
        yield f"{home}: nothing here was made by codeFT"
        return
    yield f"the data root {home} holds {_num_bytes(paths) / 1e6:,.1f} MB of tables, models, scores and runs:"
    yield from (f"  {path}" for path in paths)
    if not force and not _is_wanted():
        yield f"kept; to delete it: {made('clean FORCE=1', 'clean', '--force')}"
        return
    for path in paths:
        _delete(path)
    for folder in (*(home / name for name in _FOLDERS), dagster_home, home):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    left = sorted(path.name for path in home.iterdir()) if home.is_dir() else []
    yield f"deleted; not made by codeFT and left in {home}: {', '.join(left)}" if left else "deleted"


def _is_wanted() -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stdout.write("Delete it? Type yes: ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "yes"


def _num_bytes(paths: list[Path]) -> int:
    files = (file for path in paths for file in ([path] if path.is_file() else path.rglob("*")))
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def homes() -> tuple[Path, Path]:
    """Return the data root and the Dagster home that the environment names, as absolute paths.

    What lies at a URL is never removed by us; the folder of this machine is.
    """
    named = os.environ.get("CODEFT_HOME") or ".codeft"
    home = Path(".codeft" if "://" in named else named).absolute()
    return home, Path(os.environ.get("DAGSTER_HOME") or home / "dagster").absolute()


def clean(arguments: list[str]) -> int:
    """Delete what codeFT made in the data root, after asking; whatever else is there stays."""
    parser = argparse.ArgumentParser(prog="codeft clean", description=clean.__doc__)
    parser.add_argument("--force", action="store_true", help="delete without asking")
    for line in remove(*homes(), force=parser.parse_args(arguments).force):
        sys.stdout.write(f"{line}\n")
    return 0


def main(arguments: list[str]) -> int:
    """Prepare the data root that the environment names, or clean it; return the exit code."""
    action, *rest = arguments
    if action == "remove":
        return clean(rest)
    if remark := prepare(homes()[1]):
        sys.stdout.write(f"{remark}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
