"""A newcomer's walk through README and docs in a fresh clone: every command is typed as written.

``make docs`` walks all of it and prints what each command printed. A block of commands is run unless the comment above
it says ``not executed`` and why; ``long`` ones are left out of ``make test``. A block after ``into FILE`` is put into
the catalogue there, as the page tells its reader to.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.hub.server import HubServer, seed_samples

ROOT = Path(__file__).parents[1]
NAMES = (
    *("architecture", "concepts", "tune_the_filter", "train_on_a_gpu", "training_report", "evaluate_and_compare"),
    *("papers", "your_own_benchmark", "extend", "operate", "from_a_laptop_to_a_cluster", "kubernetes"),
    *("internet_scale", "faq", "add_a_source"),
)
PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{name}.md" for name in NAMES))
"""In the order of a walk: the last one changes the catalogue."""
SHOWN_LINES = 12
_BLOCK = re.compile(
    r"(?:<!-- (?P<note>[^\n]+?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_INTO = re.compile(r"into (?P<file>\S+)")


@dataclass(frozen=True)
class Block:
    """Commands, or code, of one page."""

    page: str
    line: int
    language: str
    text: str
    note: str = ""

    def is_run(self, *, long):
        """Return whether a walk runs it."""
        if self.language != "bash":
            return False
        return not self.note.startswith("not executed") and (long or not self.note.startswith("long"))


def blocks(page):
    """Return the fenced blocks of a page with the comment above each."""
    text = (ROOT / page).read_text()
    return [
        Block(page, text[: found.start("text")].count("\n"), found["language"], found["text"], found["note"] or "")
        for found in _BLOCK.finditer(text)
    ]


def clone(folder):
    """Copy the tracked and new files, give the copy this virtual environment, and return its folder."""
    place = folder / "codeft"
    known = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, known.stdout.split("\0")):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    venv = place / ".venv"
    venv.mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != ".installed":
            (venv / part.name).symlink_to(part)
    (venv / ".installed").touch()  # newer than pyproject.toml: make installs nothing
    return place


def environment(folder, hub):
    """Return a newcomer's environment; the Hub is the local one."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "CHROMIUM") if name in os.environ}
    return kept | {
        "PYTHONPATH": str(folder / "codeft"),
        "PYTHONWARNINGS": "ignore",
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder / "hf"),
        "CODEFT_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
    }


def insert(block, place):
    """Put the block's entry at the end of the catalogue's list, as the page says."""
    path = place / _INTO.match(block.note)["file"]
    before, after = path.read_text().rsplit("\n)\n\nSOURCES = ", 1)
    path.write_text(f"{before}\n{block.text.rstrip()},\n)\n\nSOURCES = {after}")


def walk(page, place, surroundings, *, long):
    """Run the blocks of a page in order, with the variables that earlier ones exported; yield each with its output.

    Raises:
        AssertionError: a command failed.
    """
    exported = ""
    for block in blocks(page):
        if _INTO.match(block.note):
            insert(block, place)
        if not block.is_run(long=long):
            continue
        script = f"set -euo pipefail\n{exported}{block.text}"
        started = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", script], cwd=place, env=surroundings, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{page}:{block.line} failed:\n{block.text}\n{done.stdout[-4000:]}"
        exported += "".join(line + "\n" for line in block.text.splitlines() if line.startswith("export "))
        yield block, done.stdout, time.monotonic() - started


@contextlib.contextmanager
def served_samples():
    """Serve the embedded samples as Hub datasets; the rows that are bad on purpose stay out."""
    with HubServer() as hub:
        seed_samples(hub)
        for repo in hub.repos.values():
            for files in repo.commits.values():
                files.update({path: b"".join(content.splitlines(True)[:10]) for path, content in files.items()})
        yield hub


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("pages", nargs="*", default=PAGES, help="default: all")
    options.add_argument("--home", type=Path, help="start with a copy of this data root instead of an empty one")
    options.add_argument("--short", action="store_true", help="without the long commands")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as name, served_samples() as hub:
        folder = Path(name)
        place = clone(folder)
        if options.home:
            shutil.copytree(options.home, place / ".codeft", symlinks=True)
        surroundings = environment(folder, hub)
        for page in options.pages:
            print(f"\n=== {page}", flush=True)
            for block, output, seconds in walk(page, place, surroundings, long=not options.short):
                print("\n" + "\n".join(f"$ {line}" for line in block.text.rstrip().splitlines()))
                print("\n".join(line[:160] for line in output.splitlines()[-SHOWN_LINES:]))
                print(f"[{seconds:.1f} s]", flush=True)
            left_out = [block for block in blocks(page) if block.note.startswith("not executed")]
            for block in left_out:
                print(f"\n{page}:{block.line} {block.note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
