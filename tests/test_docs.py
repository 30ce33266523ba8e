"""What the documentation says is so: its commands run, its links lead somewhere, its names exist."""

import re
from pathlib import Path

import pytest

from tests.walk import PAGES, ROOT, blocks, clone, environment, served_samples, walk

NOTES = re.compile(r"long|not executed: .{12,}|into \S+")
_LINK = re.compile(r"!?\[[^\]]*\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)|<img[^>]+src=\"(?!https?:)([^\"]+)\"")
_PATH = re.compile(r"`((?:codeft_\w+|docker|tests|docs)/[\w./-]+)`")
_VARIABLE = re.compile(r"\b(CODEFT_[A-Z_]+)\b")


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    with served_samples() as hub:
        yield clone(folder), environment(folder, hub)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_short_command_of_a_page_runs_as_it_stands_there(page, newcomer):
    place, surroundings = newcomer
    for _ in walk(page, place, surroundings, long=False):
        pass


@pytest.mark.parametrize("page", PAGES)
def test_a_block_that_is_not_run_says_why(page):
    notes = [block.note for block in blocks(page) if block.note]
    assert all(NOTES.fullmatch(note) for note in notes), notes


@pytest.mark.parametrize("page", PAGES)
def test_no_command_hides_in_another_kind_of_block(page):
    assert {block.language for block in blocks(page)} <= {"bash", "python", "sql", "mermaid"}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_every_path_leads_somewhere(page):
    text = (ROOT / page).read_text()
    linked = [(ROOT / page).parent / next(filter(None, found)) for found in _LINK.findall(text)]
    named = [ROOT / path for path in _PATH.findall(text) if "<" not in path]
    missing = [str(path) for path in linked + named if not path.exists()]
    assert missing == []


def test_every_variable_that_the_docs_name_is_read_somewhere():
    told = {name for page in PAGES for name in _VARIABLE.findall((ROOT / page).read_text())}
    read = {
        name
        for pattern in ("codeft_*/**/*.py", "docker/*", "tests/*/*.py", "Makefile")
        for path in ROOT.glob(pattern)
        if path.is_file()
        for name in _VARIABLE.findall(path.read_text())
    }
    # a secret is given by file, too
    assert {name.removesuffix("_FILE") for name in told} <= {name.removesuffix("_FILE") for name in read}


def test_every_page_of_the_docs_is_walked():
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")} <= set(PAGES)


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "pictures").glob("*.png")), ids=lambda path: path.name)
def test_a_picture_is_small_and_some_page_shows_it(path):
    assert path.stat().st_size < 150_000
    assert any(path.name in Path(ROOT / page).read_text() for page in PAGES)
