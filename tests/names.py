"""The names of the project, read from its code: what a page may mention between backticks."""

import ast
import builtins
import fnmatch
import functools
import json
import re
import subprocess
from pathlib import Path

from codeft_assets.command.__main__ import OWN, PROGRAMS

ROOT = Path(__file__).parents[1]
PACKAGES = ("codeft_assets", "codeft_training", "codeft_eval")
FOREIGN_COMMANDS = ("dagster", "docker", "pip", "tensorboard", "torchrun")
_PLACEHOLDER = re.compile(r"<\w+>|[A-Z]+(?:_[A-Z]+)*")
_RUN_FOLDERS = (".codeft", "tables", "files")


@functools.cache
def tracked():
    """Return the files of the checkout, new ones too, without its pictures."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return frozenset(name for name in listed if name and (ROOT / name).is_file())


def folders(package):
    """Return the folders of a package, without those of single samples and of single measured references."""
    paths = (Path(name).parent for name in tracked() if name.startswith(f"{package}/"))
    return {path.as_posix() for path in paths if not {"samples", "measured"} & {part.name for part in path.parents}}


@functools.cache
def syntax(path):
    return ast.parse((ROOT / path).read_text())


def python_files(*prefixes):
    return sorted(name for name in tracked() if name.endswith(".py") and name.startswith(prefixes or PACKAGES))


@functools.cache
def identifiers(path):
    """Return the names that a file defines, binds, imports or reads."""
    found = set()
    for node in ast.walk(syntax(path)):
        found |= {getattr(node, part) for part in ("name", "id", "attr", "arg", "asname") if hasattr(node, part)}
        if isinstance(node, ast.alias):
            found |= set(node.name.split("."))
    return found - {None}


@functools.cache
def parameters():
    """Return class or function -> the fields and parameters that it takes, those of inherited classes too."""
    classes = {node.name: node for path in python_files() for node in ast.walk(syntax(path)) if _is_definition(node)}
    return {name: _parameters(node, classes) for name, node in classes.items()}


def _is_definition(node):
    return isinstance(node, ast.ClassDef | ast.FunctionDef)


def _parameters(node, classes):
    if isinstance(node, ast.FunctionDef):
        return {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
    own = {part.target.id for part in node.body if isinstance(part, ast.AnnAssign)}
    bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id in classes]
    return own.union(*(_parameters(classes[base], classes) for base in bases if base != node.name))


@functools.cache
def annotations():
    """Return field of a class -> the names in its annotations."""
    found = {}
    for path in python_files():
        for node in ast.walk(syntax(path)):
            for part in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(part, ast.AnnAssign):
                    names = {name.id for name in ast.walk(part.annotation) if isinstance(name, ast.Name)}
                    found.setdefault(part.target.id, set()).update(names)
    return found


@functools.cache
def members():
    """Return class -> the names of its body and of its methods' attributes."""
    found = {}
    for path in python_files():
        for node in ast.walk(syntax(path)):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).update(part.name for part in node.body if hasattr(part, "name"))
                found[node.name] |= _parameters(node, {})
    return found


@functools.cache
def strings():
    """Return the string constants of the packages: columns, metadata keys, file names, choices, recipe names."""
    nodes = (node for path in python_files() for node in ast.walk(syntax(path)))
    return frozenset(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


@functools.cache
def all_identifiers():
    return frozenset().union(*map(identifiers, python_files()))


@functools.cache
def flags(package):
    """Return the options and subcommands of a program."""
    found = set()
    for path in python_files(f"{package}/"):
        for node in ast.walk(syntax(path)):
            if isinstance(node, ast.Call):
                found |= {part.value for part in node.args if isinstance(part, ast.Constant)}
    return {text for text in found if isinstance(text, str)}


@functools.cache
def definitions():
    from codeft_assets.definitions import defs

    return defs


@functools.cache
def assets():
    """Return asset key -> its node in the graph."""
    graph = definitions().resolve_asset_graph()
    return {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}


@functools.cache
def shell_names():
    """Return the names that the web UI shows: assets, checks, groups, sensors, jobs, pools."""
    checks = {check.name for node in assets().values() for check in node.check_keys}
    groups = {node.group_name for node in assets().values()}
    ops = {node.assets_def.op.name for node in assets().values() if node.is_executable}
    pools = {node.assets_def.op.pool for node in assets().values() if node.is_executable} - {None}
    automation = {entry.name for entry in (*definitions().sensors, *definitions().jobs)}
    return frozenset({*assets(), *ops, *checks, *groups, *automation, *pools})


def is_asset(text):
    """Whether ``text`` is the key, or a pattern of keys, of assets."""
    pattern = re.sub(r"<\w+>", "*", text)
    return any(fnmatch.fnmatch(key, pattern) for key in assets())


def is_path(text, folder):
    """Whether ``text`` is a file or folder here, the end of a tracked path, or a place below the data root."""
    if (ROOT / text).exists() or (folder / text).exists() or f"codeft_assets/{text}" in tracked():
        return True
    if text.split("/")[0] in _RUN_FOLDERS:
        known = strings() | {part for key in assets() for part in key.split("/")} | set(_RUN_FOLDERS)
        return all(part in known or _PLACEHOLDER.fullmatch(part) for part in text.strip("/").split("/"))
    return not text.endswith("/") and any(name.endswith(f"/{text}") for name in tracked())


def is_code(text):
    """Whether ``text`` is Python of names that exist, with keywords that the called class or function takes."""
    try:
        tree = ast.parse(f"_({text})", mode="eval")
    except SyntaxError:
        return False
    if any(isinstance(node, ast.BinOp | ast.BoolOp | ast.Compare) for node in ast.walk(tree)):
        return False
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    settings = {keyword.arg: keyword.value for keyword in tree.body.keywords}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - {"_", *dir(builtins)}
    fields = set().union(*parameters().values())
    return (
        names <= all_identifiers() | strings()
        and set(settings) <= fields
        and all(value.func.id in annotations().get(name, ()) for name, value in settings.items() if value in calls)
        and all(_takes(call) for call in calls if call is not tree.body)
        and all(_is_attribute(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    )


def _takes(call):
    return {keyword.arg for keyword in call.keywords} <= parameters().get(call.func.id, set())


def _is_attribute(node):
    dotted = ast.unparse(node)
    owner, _, name = dotted.rpartition(".")
    if owner in members():
        return name in members()[owner]
    path = dotted.replace(".", "/")
    if any(known.startswith(f"{path}/") or known == f"{path}.py" for known in tracked()):
        return True
    files = [known for known in python_files() if known.endswith(f"{owner.replace('.', '/')}.py")]
    return any(name in identifiers(known) for known in files)


def unknown_options(line):
    """Return the options and the subcommand of a line of shell that none of our programs has."""
    found = re.search(r"python -m (codeft_\w+(?:\.\w+)?)(.*)", line)
    if not found:
        return []
    package = found[1].split(".")[0]
    if (
        f"{found[1].replace('.', '/')}.py" not in tracked()
        and f"{found[1].replace('.', '/')}/__main__.py" not in tracked()
    ):
        return [found[1]]
    options = re.findall(r"(?<![\w-])--[a-z][\w-]*", found[2])
    subcommand = re.match(r" ([a-z][a-z-]*)(?: |$)", found[2])
    used = options + ([subcommand[1]] if subcommand else [])
    return [name for name in used if name not in flags(package) | {"--help", *OWN, *PROGRAMS}]


def is_command(text):
    """Whether ``text`` is a command line of ours with options that exist, or of a foreign program."""
    words = re.sub(r"^([A-Z_]+=\S+ )*", "", text).removeprefix(".venv/bin/").split()
    if words[0] == "make":
        return all(f"\n{word}:" in (ROOT / "Makefile").read_text() for word in words[1:])
    if words[0] == "codeft":
        return words[1:2] == [] or words[1] in {*OWN, *PROGRAMS}
    if words[0] == "python":
        if words[2] == "pytest":
            return all((ROOT / path).exists() for path in words[3:])
        if words[2].startswith("tests."):
            return (ROOT / f"{words[2].replace('.', '/')}.py").exists() or is_path(words[2].replace(".", "/"), ROOT)
        return not unknown_options(text)
    return len(words) > 1 and words[0] in FOREIGN_COMMANDS


def is_option(text):
    """Whether ``text`` is an option of one of the programs, with a value or without."""
    return text.startswith("--") and any(text.split()[0] in flags(package) for package in PACKAGES)


def is_message(text):
    """Whether ``text`` is a message with its values left out as ``…``."""
    pieces = [piece for piece in map(str.strip, text.split("…")) if len(piece) > 1]
    return " " in text and all(any(piece in string for string in strings()) for piece in pieces)


def op_configs(text):
    """Yield (asset node, its configuration) of every ``--config-json`` of a block of commands."""
    names = {key.replace("/", "__").replace("-", "_"): node for key, node in assets().items()}
    for found in re.findall(r"--config-json '(.*?)'(?=\s|$)", text, re.DOTALL):
        for name, op in json.loads(found).get("ops", {}).items():
            yield names.get(name, name), op["config"]


def resource_configs(text):
    """Yield (name, configuration) of every resource that a ``--config-json`` of a block of commands configures."""
    for found in re.findall(r"--config-json '(.*?)'(?=\s|$)", text, re.DOTALL):
        for name, resource in json.loads(found).get("resources", {}).items():
            yield name, resource["config"]
