"""Calls that our code never makes, by its syntax, and effects that a hostile upstream cannot have."""

import ast
import contextlib
import re
from pathlib import Path

import pytest

from codeft_assets.command.__main__ import UI

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path for name in ("codeft_assets", "codeft_training", "codeft_eval") for path in ROOT.glob(f"{name}/**/*.py")
)
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNPACKERS = {"extractall", "extract", "unpack_archive"}
RUNNERS = {"eval", "exec"}
SANDBOX = "codeft_eval/sandbox/"
"""Runs programs on purpose: that is what it is for."""
RESTRICTED = {("codeft_eval/benchmarks/livecodebench.py", "import pickle")}
"""Reads upstream's packed tests by an unpickler that refuses every class: its ``find_class`` raises."""
OUR_OWN_TEXT = {f"codeft_assets/exercises/{name}.py" for name in ("exercise", "meaning", "monologue")}
"""Run code that their own room has written; no row, document or model's answer reaches them."""


def calls(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield node, name, {keyword.arg: keyword.value for keyword in node.keywords}


def is_false(value):
    return isinstance(value, ast.Constant) and value.value is False


RULES = {
    "trust_remote_code": lambda node, name, said: not is_false(said.get("trust_remote_code", ast.Constant(False))),
    "allow_pickle": lambda node, name, said: not is_false(said.get("allow_pickle", ast.Constant(False))),
    "an archive unpacked": lambda node, name, said: name in UNPACKERS and not _is_expression(node),
    "text run as code": lambda node, name, said: name in RUNNERS and isinstance(node.func, ast.Name),
    "torch.load without weights_only": lambda node, name, said: (
        ast.unparse(node.func) == "torch.load" and "weights_only" not in said
    ),
    "a shell or a loader that runs code": lambda node, name, said: (
        ast.unparse(node.func) in {"yaml.load", "os.system", "os.popen"} or "shell" in said
    ),
}


def offenses(path):
    """Yield what a file does that it must not."""
    for node, name, keywords in calls(path):
        yield from (f"line {node.lineno}: {rule}" for rule, breaks in RULES.items() if breaks(node, name, keywords))
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (f"line {node.lineno}: import {name}" for name in names if name.split(".")[0] in UNPICKLERS)


def _is_expression(node):
    """Polars' ``str.extract`` reads text, not archives."""
    return isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value).endswith(".str")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_of_others_is_trusted_unpickled_unpacked_or_run(path):
    where = str(path.relative_to(ROOT))
    if where.startswith(SANDBOX):
        return
    found = [text for text in offenses(path) if (where, text.split(": ")[-1]) not in RESTRICTED]
    assert [text for text in found if where not in OUR_OWN_TEXT or "text run as code" not in text] == []


@pytest.mark.parametrize(
    "code",
    [
        "AutoModel.from_pretrained('m', trust_remote_code=True)",
        "load_dataset('d', trust_remote_code=trusted)",
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "tarfile.open(path).extractall(folder)",
        "zipfile.ZipFile(path).extract(name)",
        "shutil.unpack_archive(path)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "yaml.load(text)",
    ],
)
def test_the_rule_sees_what_it_forbids(code, tmp_path):
    path = tmp_path / "code.py"
    path.write_text(f"{code}\n")
    assert len(list(offenses(path))) == 1


def test_code_in_a_dataset_is_not_run_and_its_paths_lead_nowhere(hub, tmp_path, monkeypatch):
    from codeft_assets.curation.ingest.adapters import PromptResponse
    from codeft_assets.origins import HubOrigin
    from codeft_assets.origins.errors import UpstreamError
    from codeft_assets.source import Source
    from codeft_assets.stages.documents import documents_stage, file_units, read_documents
    from codeft_assets.store.data_root import Store
    from codeft_assets.store.engine import map_shards

    monkeypatch.chdir(tmp_path)
    flag = tmp_path / "ran"
    row = '{"q": "How do I add 1 to x in Python?", "a": "x = x + 1"}\n'
    hub.commit(
        "evil/data",
        {
            "data.py": f"open({str(flag)!r}, 'w')\n",
            "train.jsonl": row,
            "../../escaped.jsonl": row,
            "/absolute.jsonl": row,
        },
    )
    source = Source(
        name="evil", about="Evil rows.", origin=HubOrigin(repo_id="evil/data"), domain="code", format="instruct",
        adapter=PromptResponse(prompt=("q",), response=("a",)), license="MIT", homepage="https://example.com",
    )  # fmt: skip
    upstream = source.origin.resolve()
    root = tmp_path / "root" / "below"
    table = Store(str(root)).table("documents/evil")
    units = file_units(source, source.origin, upstream, None)
    for unit in units:  # each by itself: a path that the client refuses is an error, not a way out
        with contextlib.suppress(UpstreamError):
            map_shards(read_documents, [unit], table, stage=documents_stage(source, None))
    assert table.read()["text"].len() >= 1
    assert not flag.exists()
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(root)]
    assert outside == []


COMMANDS = ("dagster dev", "dagster-webserver", "dagster_webserver", r"codeft_assets\.command\.web_ui")


def served_commands(text):
    """Return the command lines that start a web server."""
    joined = text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if re.search(rf"\b({'|'.join(COMMANDS)})\b.*( -|--)", line)]


def test_the_web_server_listens_on_loopback_only_unless_told_otherwise():
    pages = "\n".join((ROOT / name).read_text() for name in ("Makefile", "README.md"))
    lines = [*served_commands(pages), *served_commands(" ".join(UI))]
    assert lines
    assert [line for line in lines if "--host 127.0.0.1" not in line and "-h 127.0.0.1" not in line] == []
    compose = (ROOT / "docker" / "compose.yaml").read_text()
    published = re.findall(r"ports: \[(.*?)\]", compose)
    assert published
    assert [ports for ports in published if not ports.startswith('"127.0.0.1:')] == []


def test_every_pinned_package_but_torch_is_locked_by_hash():
    def canonical(name):
        return re.sub(r"[-_.]+", "-", name).lower()

    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    pins = {canonical(name): version for name, version in pins.items()}
    found = {}
    for entry in re.split(r"\n(?=[A-Za-z0-9])", (ROOT / "requirements.lock").read_text()):
        if match := re.match(r"([A-Za-z0-9._-]+)==(\S+)", entry):
            found[canonical(match[1])] = (match[2], "--hash=sha256:" in entry)
    assert {name: (version, True) for name, version in pins.items() if name != "torch"} == found, "make lock"
