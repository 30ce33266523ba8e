"""``codeft``: every program of the project by one name, with the environment that ``make`` gives it."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from codeft_assets.base.program_name import PROGRAM_VARIABLE
from codeft_assets.command import data_root
from codeft_assets.command.demo import demo, run_pipeline
from codeft_assets.command.project import FILE_NAME, SOURCES_NAME, create_project, find_project, project_environment
from codeft_assets.command.typed import DEFINITIONS, typed

HOST, PORT = "127.0.0.1", "3000"
ADDRESS = f"http://{HOST}:{PORT}"
UI = ("codeft_assets.command.web_ui", "-m", DEFINITIONS, "--host", HOST, "--port", PORT)
PROGRAMS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "score": (("codeft_eval", "run"), "score a checkpoint on a benchmark"),
    "eval": (("codeft_eval",), "all commands of the evaluation: check, fetch, measure, progress, scoreboard, ..."),
    "train": (("codeft_training", "run"), "tokenizer, packed rows and checkpoint of a corpus in one folder"),
    "training": (("codeft_training",), "all commands of the training: tokenizer, pack, train, export, ..."),
    "trace": (("codeft_assets.trace",), "the way of one document from upstream to packed row"),
    "catalog": (("codeft_assets.catalog",), "write catalog.duckdb and print what each source has in, kept and dropped"),
    "dagster": (("dagster",), "any command of Dagster in the environment of the project"),
}
"""Command -> the program that takes its place, with the first words of its command line, and a line of help."""


def _new(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="codeft new", description="Write the files of a project into a folder.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    written = create_project(folder)
    for path in (folder / FILE_NAME, folder / SOURCES_NAME):
        print(f"{'written' if path in written else 'there already, and kept'}: {path}")
    print(f"next:\n  {shlex.join(['cd', str(folder)])}\n  {typed('demo')}\n  {typed('ui')}")
    return 0


def _ui(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-h", "--host", default=HOST)
    parser.add_argument("-p", "--port", default=PORT)
    chosen, _ = parser.parse_known_args(arguments)
    address = f"http://{chosen.host}:{chosen.port}"
    if "--help" not in arguments:
        if _is_taken(chosen.host, chosen.port):
            print(
                f"error: another program answers at {address}, perhaps codeft ui; end it, or choose another port: "
                f"{typed('ui', '--port', str(int(chosen.port) + 1))}",
                file=sys.stderr,
            )
            return 1
        print(f"once Dagster serves: the assets at {address}, the runs at {address}/runs,")
        print(f"the scoreboard at {address}/assets/scoreboard; Ctrl+C stops it", flush=True)
    return _become(*UI, *arguments)


def _is_taken(host: str, port: str) -> bool:
    with socket.socket() as asked:
        asked.settimeout(2)
        return port.isdigit() and asked.connect_ex((host, int(port))) == 0


def _become(module: str, *arguments: str) -> int:
    names = {words: name for name, (words, _) in PROGRAMS.items()}
    if (module,) in names:
        os.environ[PROGRAM_VARIABLE] = f"codeft {names[module,]}"
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606  no shell: that is the point


READ_SOURCES = frozenset({"demo", "run", "ui", "trace", "catalog", "dagster"})

OWN: Mapping[str, tuple[Callable[[list[str]], int], str]] = {
    "demo": (demo, "every asset on the embedded samples, ending in what the model can do"),
    "run": (run_pipeline, "materialize assets: codeft run 'group:dedup'; without a selection, all"),
    "ui": (_ui, f"the web UI on {ADDRESS}, with the daemon that watches upstream"),
    "new": (_new, "write codeft.toml and sources.toml into a folder: a project of your own"),
    "clean": (data_root.clean, "delete the data root, after asking"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the first argument names; return its exit code."""
    name, *rest = arguments if arguments is not None else sys.argv[1:] or ["--help"]
    if name in {"-h", "--help"}:
        print(_help())
        return 0
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end without a word when head has read enough
    if name not in OWN and name not in PROGRAMS:
        print(f"codeft: no command {name!r}\n\n{_help()}", file=sys.stderr)
        return 2
    if name == "new":
        return _new(rest)
    is_question = not {"-h", "--help"}.isdisjoint(rest)  # which leaves nothing behind
    try:
        os.environ |= project_environment(find_project(Path.cwd()), os.environ, Path.cwd())
        if name in READ_SOURCES and not is_question:
            importlib.import_module("codeft_assets.sources")  # an error in sources.toml is said here, in one line
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if name != "clean" and not is_question and (remark := data_root.prepare(data_root.homes()[1])):
        print(remark, file=sys.stderr)
    return OWN[name][0](rest) if name in OWN else _become(*PROGRAMS[name][0], *rest)


def _help() -> str:
    lines = {name: text for table in (OWN, PROGRAMS) for name, (_, text) in table.items()}
    listed = "\n".join(f"  {name:10} {text}" for name, text in lines.items())
    return f"usage: codeft COMMAND ...\n\n{listed}\n\ncodeft COMMAND --help has the options of a command."


if __name__ == "__main__":
    sys.exit(main())
