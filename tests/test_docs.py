"""The documentation is true: its commands run, its links lead somewhere, its names exist, its figures add up."""

import ast
import functools
import re
import shutil
import tomllib
from pathlib import Path

import duckdb
import polars as pl
import pytest
from dagster._config.validate import validate_config

from codeft_assets import sources
from codeft_assets.curation.corpus.ledger import LEDGER_SCHEMA
from codeft_assets.curation.documents import DOCUMENT_SCHEMA
from codeft_assets.defs.launchpad import override_texts
from codeft_assets.defs.workspace import Workspace
from codeft_training.recipes import find_recipe
from tests import names
from tests.eval.hostile import ATTACKS
from tests.walk import PAGES, ROOT, blocks, clone, environment, served_samples, walk

README = "README.md"
ARCHITECTURE = "docs/architecture.md"
NOTES = re.compile(r"long|not executed: .{12,}|into \S+")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"``(.+?)``|`([^`\n]+)`")
_LINK = re.compile(r"!?\[[^\]]*\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)|<img[^>]+src=\"(?!https?:)([^\"]+)\"")
_PATH = re.compile(r"`((?:codeft_\w+|docker|tests|docs)/[\w./-]+)`")
_VARIABLE = re.compile(r"\b(CODEFT_[A-Z_]+)\b")
FOREIGN = {
    # Python, its packages and the system
    *("==", "os", "posix", "generate", "save_pretrained", "from_pretrained", "from __future__ import annotations"),
    *("HF_HUB_DISABLE_TELEMETRY=1", "torch==2.13.0", "transformers.Trainer", "code_eval", ".env", "--config-json"),
    *("acc", "acc_norm", "arc_easy", "hellaswag"),
    # patterns, and text itself
    *("|", "double", "Return the …", "area: what is now true", "num_*", "*_fraction", "30%"),
    "taught-unverified",
}
"""Between backticks, and no name of ours."""


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    with served_samples() as hub:
        place = clone(folder)
        for compiled in ROOT.glob("codeft_*/**/*.nb[ic]"):  # what numba compiled of the same files: half a minute
            copied = place / compiled.relative_to(ROOT)
            copied.parent.mkdir(exist_ok=True)
            shutil.copy2(compiled, copied)
        yield place, environment(folder, hub)


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
    texts = [block for block in blocks(page) if block.language == "text"]
    assert {block.language for block in blocks(page)} <= {"bash", "python", "sql", "text"}
    assert not [block.line for block in texts if re.search(r"^\s*(\$|make|\.venv|python) ", block.text, re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_every_path_leads_somewhere(page):
    text = (ROOT / page).read_text()
    linked = [(ROOT / page).parent / next(filter(None, found)) for found in _LINK.findall(text)]
    named = [ROOT / path for path in _PATH.findall(text) if "<" not in path]
    missing = [str(path) for path in linked + named if not path.exists()]
    assert missing == []


def test_every_variable_that_the_docs_name_is_read_somewhere():
    named = {name for page in PAGES for name in _VARIABLE.findall((ROOT / page).read_text())}
    read = {
        name
        for pattern in ("codeft_*/**/*.py", "docker/*", "tests/*/*.py", "Makefile")
        for path in ROOT.glob(pattern)
        if path.is_file()
        for name in _VARIABLE.findall(path.read_text())
    }
    # a secret is given by file, too
    assert {name.removesuffix("_FILE") for name in named} <= {name.removesuffix("_FILE") for name in read}


def test_every_page_of_the_docs_is_walked():
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")} <= set(PAGES)


def test_every_picture_is_shown_by_a_page():
    shown = {
        Path(next(filter(None, found))).name for page in PAGES for found in _LINK.findall((ROOT / page).read_text())
    }
    assert {path.name for path in (ROOT / "docs" / "pictures").iterdir()} <= shown


# -- names -------------------------------------------------------------------------------------------------------------


@functools.cache
def code_spans(page):
    prose = _FENCED.sub("", (ROOT / page).read_text())
    return sorted({double or single for double, single in _CODE_SPAN.findall(prose)})


def is_known(span, page):
    identifier = re.sub(r"\(\)$|=$", "", span)
    setting = re.fullmatch(r"(\w+): \S+", span)
    variable = re.fullmatch(r"([A-Z][A-Z_]+)(=\S*)?", span)
    return (
        span in FOREIGN
        or identifier in names.all_identifiers() | names.strings() | names.shell_names() | set(ATTACKS)
        or (setting is not None and setting[1] in names.all_identifiers())
        or (variable is not None and variable[1].removesuffix("_FILE") in names.strings() | _deployed())
        or span in _deployed()
        or names.is_asset(span)
        or span in {f"documents/{entry.name}" for entry in entries(page)}
        or names.is_path(span, (ROOT / page).parent)
        or names.is_option(span)
        or names.is_command(span)
        or names.is_message(span)
        or names.is_code(span)
    )


@functools.cache
def _deployed():
    """Return the variables, volumes and folders of the containers, and the variables of make."""
    files = [ROOT / "Makefile", *(path for path in sorted((ROOT / "docker").rglob("*")) if path.is_file())]
    text = "".join(path.read_text() for path in files)
    keys = r"(?<=^  )[\w-]+(?=:)|(?<=profiles: \[)\w+|(?<=[{ ])[\w./-]+(?=: \"?\d)"
    return frozenset(re.findall(rf"\b[A-Z][A-Z_]+\b|{keys}|(?<=[ :])/data/\w+", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_every_name_between_backticks_exists(page):
    assert [span for span in code_spans(page) if not is_known(span, page)] == []


def test_every_foreign_name_is_still_mentioned():
    assert {span for page in PAGES for span in code_spans(page)} >= FOREIGN


@pytest.mark.parametrize("page", PAGES)
def test_every_option_and_configuration_in_a_command_exists(page):
    for block in blocks(page):
        if block.language == "bash":
            lines = block.text.replace("\\\n", " ").splitlines()
            assert [name for line in lines for name in names.unknown_options(line)] == [], f"{page}:{block.line}"
            for node, config in names.op_configs(block.text):
                _check_config(node, config, f"{page}:{block.line}")
            for name, config in names.resource_configs(block.text):
                assert name == "workspace", f"{page}:{block.line}: no other resource takes a configuration"
                assert Workspace(**config).chosen_recipe("", {}), f"{page}:{block.line}"


def _check_config(node, config, where):
    assert not isinstance(node, str), f"{where}: no asset is called {node}"
    read = validate_config(node.assets_def.op.config_schema.config_type, config)
    assert read.success, f"{where}: {[error.message for error in read.errors or []]}"
    if "recipe" in config:
        find_recipe(config["recipe"], override_texts(config.get("overrides", {})))
    assert set(config.get("thresholds", {})) <= set(sources.SOURCES), where


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_is_an_entry_of_the_catalogue(page):
    for block in blocks(page):
        assert block.language != "python" or block.text.startswith("Source("), f"{page}:{block.line}"
    assert all(isinstance(entry, sources.Source) for entry in entries(page))


def entries(page):
    return [eval(block.text, vars(sources)) for block in blocks(page) if block.language == "python"]


@pytest.mark.parametrize("page", PAGES)
def test_every_query_reads_columns_that_the_tables_have(page):
    with duckdb.connect() as connection:
        connection.register("documents", DOCUMENT_SCHEMA.empty_table())
        connection.register("corpus_ledger", pl.DataFrame(schema=LEDGER_SCHEMA).to_arrow())
        for block in blocks(page):
            if block.language == "sql":
                connection.execute(block.text)


# -- the map -----------------------------------------------------------------------------------------------------------


def test_the_tree_of_the_readme_is_the_tree_of_the_packages():
    path, found = [], {}
    for line in next(block.text for block in blocks(README) if block.language == "text").splitlines():
        indent, name, caption = re.fullmatch(r"([│ ├└─]*)(\w+)/ +(\S.*)", line).groups()
        path[len(indent) // 4 :] = [name]
        found["/".join(path)] = caption
    assert set(found) == set().union(*map(names.folders, names.PACKAGES))


def pipeline_rows():
    rows = re.findall(
        r"^\| `([^`]+)` \| `(\w+\.py)` \| (?:`(\w+\.py)` )?\| (.+) \|$", (ROOT / README).read_text(), re.MULTILINE
    )
    return [(key, module, stage, re.findall(r"`(codeft[^`]+)`", pure)) for key, module, stage, pure in rows]


def test_the_pipeline_of_the_readme_has_every_asset_and_the_module_that_defines_it():
    listed = {key: module for key, module, *_ in pipeline_rows()}
    patterns = {re.sub(r"<\w+>", "*", key): key for key in listed}
    for key, node in names.assets().items():
        family = f"{key.split('/')[0]}/*"
        row = listed[key] if key in listed else listed[patterns[family]]
        defined = node.assets_def.op.compute_fn.decorated_fn.__module__
        assert defined == f"codeft_assets.defs.assets.{row.removesuffix('.py')}", key
    assert all(names.is_asset(key) for key in listed)


@pytest.mark.parametrize(("key", "module", "stage", "pure"), pipeline_rows(), ids=lambda value: str(value)[:30])
def test_what_the_readme_says_computes_an_asset_is_imported_there(key, module, stage, pure):
    importers = [f"codeft_assets/defs/assets/{module}"] + ([f"codeft_assets/stages/{stage}"] if stage else [])
    imported = {name for path in importers for name in imports(path)}
    assert not stage or any(name.startswith(f"codeft_assets.stages.{stage[:-3]}") for name in imported)
    for path in pure if stage else ():
        dotted = path.removesuffix(".py").strip("/").replace("/", ".")
        is_process = not dotted.startswith("codeft_assets")  # the asset starts it as a program
        assert is_process or any(name.startswith(dotted) for name in imported), path


def imports(path):
    nodes = [node for node in ast.walk(names.syntax(path)) if isinstance(node, ast.ImportFrom)]
    return {f"{node.module}.{alias.name}" for node in nodes for alias in node.names} | {node.module for node in nodes}


def test_the_layers_of_the_architecture_page_are_the_contracts():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {
        container: " > ".join(contract["layers"])
        for contract in contracts
        if contract["type"] == "layers"
        for container in contract["containers"]
    }
    lines = dict(line.split(maxsplit=1) for line in text_blocks(ARCHITECTURE)[0].splitlines())
    assert {container: lines.get(container) for container in layers} == layers


def text_blocks(page):
    return [block.text for block in blocks(page) if block.language == "text"]


@pytest.mark.parametrize("number", range(2, 6))
def test_a_walk_names_functions_of_the_files_that_it_passes(number):
    missing = []
    for line in text_blocks(ARCHITECTURE)[number].splitlines():
        path, functions = line.strip().split(maxsplit=1)
        path = path if path.startswith("codeft_") else f"codeft_assets/{path}"
        files = [path] if path.endswith(".py") else names.python_files(f"{path}/")
        known = set().union(*map(names.identifiers, files)) if all(map(names.tracked().__contains__, files)) else set()
        missing += [f"{path}: {name}" for name in functions.split(", ") if not set(name.split(".")) <= known]
    assert missing == []
