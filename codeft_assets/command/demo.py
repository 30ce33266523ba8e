"""``codeft run`` and ``codeft demo``: the pipeline with one line for each asset, and what came out of it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from codeft_assets.base.processes import end_with_parent
from codeft_assets.command.project import find_project
from codeft_assets.command.run_log import FIRST_LOG, own_log, reason
from codeft_assets.command.typed import made, typed
from codeft_assets.store.data_root import Store

EVERYTHING = 'key:"*"'
_TERMINAL = {"loggers": {"terminal": {"config": {}}}}
_DESCRIPTOR = "CODEFT_TERMINAL_FD"
_INTERRUPTED = 130
_ASK_AGAIN_SECONDS = 20
"""What a signal raises while Python collects garbage is printed and forgotten (seen: "Exception ignored in")."""
_CANCELLED = "cancelled; a check that had no time to run looks failed in the web UI until it runs"
_PROJECT_HINT = "\nno codeft.toml is here or in a folder above: the sources of a project are known in its folder alone"
_DEMO = (
    "It needs no network and no GPU, and on two quiet cores seven to ten minutes; on a slower or busy one more. Fewer "
    "steps make it shorter: overrides = {max_steps = 300} in codeft.toml. All files, about 100 MB, go to "
    "CODEFT_HOME, else .codeft in the current folder or the project's. What is finished is not made again: a second "
    "call goes on where the first was ended. In the folder of a project its settings and its sources count, too."
)


def run_pipeline(arguments: list[str]) -> int:
    """Materialize a selection with one line for each asset; everything else goes to a log."""
    parser = argparse.ArgumentParser(prog="codeft run", description=run_pipeline.__doc__)
    parser.add_argument("selection", nargs="?", default=EVERYTHING, help="as in dagster: group:dedup, model/checkpoint")
    parser.add_argument("--config-json", default={}, type=_configuration, help="of the assets, as in dagster")
    options = parser.parse_args(arguments)
    command = [sys.executable, "-m", "codeft_assets.command.materialize", options.selection]
    command += [json.dumps(options.config_json | _TERMINAL)]
    started = time.monotonic()
    with own_log(Path(os.environ["DAGSTER_HOME"])) as file:
        log = Path(file.name)
        if log.name != FIRST_LOG:
            print("another run of this data root goes on: where both make an asset, one waits for the other")
        status = _run(command, file)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    if status:
        why = reason(log.read_text(errors="replace"))
        if why and status > 0 and status != _INTERRUPTED:
            print(f"error: {why}{_PROJECT_HINT if find_project(Path.cwd()) is None else ''}\nthe whole log is {log}")
        else:
            how = _CANCELLED if status == _INTERRUPTED else "what failed, and why, is above"
            print(f"\nended after {minutes} min {seconds} s: {how}. Finished work is kept, and a second run continues")
            print(f"after it; the whole log is {log}")
        return status
    print(f"done in {minutes} min {seconds} s; what libraries printed is in {log}")
    print(f"which rows of a source are not in the corpus, and why: {typed('trace', 'documents/SOURCE')}")
    return 0


def _run(command: list[str], log: TextIO) -> int:
    """Run a command whose output goes to ``log``, and whose terminal logger prints here; return its exit code."""
    sys.stdout.flush()
    terminal = os.dup(sys.stdout.fileno())
    environment = os.environ | {_DESCRIPTOR: str(terminal)}
    process = subprocess.Popen(
        command, env=environment, stdout=log, stderr=subprocess.STDOUT, pass_fds=[terminal],
        process_group=0, preexec_fn=end_with_parent,
    )  # fmt: skip  # a group of its own: the terminal's interrupt comes from us, once the run knows
    os.close(terminal)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # who ends us means the run, not a failure of it
    signal.siginterrupt(signal.SIGINT, True)  # polars' handler would let the wait go on
    try:
        return process.wait()
    except KeyboardInterrupt:
        print("cancelling: what runs is asked to save its state and to end", flush=True)
        cancel(process)
        return _INTERRUPTED


def cancel(process: subprocess.Popen[Any]) -> None:
    """End the run of ``process`` as Terminate of the web UI does: Dagster takes a signal alone for a failure."""
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
            events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
            found = (entry.get_dagster_event().engine_event_data.metadata.get("pid") for entry in events)
            if str(process.pid) in {str(value.value) for value in found if value}:
                instance.report_run_canceling(run)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(_ASK_AGAIN_SECONDS)


def _configuration(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object")
    return found


def demo(arguments: list[str]) -> int:
    """Run everything on the embedded samples, and show what came out and what to do next."""
    from codeft_assets.sources import SOURCES  # the user's own are read from the environment, which is complete now

    argparse.ArgumentParser(prog="codeft demo", description=demo.__doc__, epilog=_DEMO).parse_args(arguments)
    store = Store(os.environ["CODEFT_HOME"])
    print(
        f"Every asset, from {len(SOURCES)} sources to the scoreboard; all files go to {store.root}\n",
        flush=True,
    )
    if failed := run_pipeline([]):
        return failed
    _heading("What was kept, and what was dropped")
    _program("codeft_assets.catalog")
    _heading("What the model learned")
    _program(
        *("codeft_eval", "progress", "--benchmark", "composed_basic"),
        *("--metrics", str(store.folder("model/checkpoint") / "metrics.jsonl")),
        *("--scores", str(store.folder("scores/composed_basic"))),
    )
    _heading("How good it is")
    print(_short_scoreboard((store.folder("scoreboard") / "scoreboard.md").read_text(encoding="utf-8")))
    _heading("Next")
    print(f"the scoreboard with every sample: {store.folder('scoreboard') / 'scoreboard.html'}")
    print(f"every asset with its plots, checks and lineage: {made('ui', 'ui')}")
    if find_project(Path.cwd()) is None:
        print(f"your own code as a source, in a project of your own: {typed('new', 'FOLDER')}")
    return 0


def _short_scoreboard(markdown: str) -> str:
    """Return the part of the scoreboard that fits a terminal: up to its first table."""
    lines = markdown.splitlines()
    end = next((number for number, line in enumerate(lines) if line.startswith("|")), len(lines))
    return "\n".join(line.strip("*") for line in lines[1:end]).strip()


def _heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def _program(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)
