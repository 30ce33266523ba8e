"""Messages of our programs to Dagster, read a whole line at a time; a program that fails says why.

Dagster 1.13's own reader takes a line that is not yet written to its end for a whole one, and stops reading: whatever
the program reports after that, its materialization included, is lost. Lines beyond 8 KB are written in several pieces.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError
from dagster_pipes import PipesDefaultMessageWriter

from codeft_assets.base.processes import TERMINATION_SECONDS
from codeft_assets.base.report import whole_lines
from codeft_assets.defs.failures import explain_program


class WholeLineReader(dg.PipesMessageReader):
    """Hands each message that a program has written into a temporary file to Dagster's handler."""

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[dict[str, Any]]:
        """Read in a thread while the program runs; yield where it has to write.

        Raises:
            ExplainedError: the program failed; begins with the reason that it gave, or that its end shows.
        """
        try:
            with _forwarding(handler) as path:
                yield {PipesDefaultMessageWriter.FILE_PATH_KEY: str(path)}
        except DagsterPipesExecutionError as error:
            raise explain_program(handler, _reason(str(error))) from None

    def no_messages_debug_text(self) -> str:
        """Say where messages were looked for."""
        return "Attempted to read messages from a temporary file."


def program_client() -> dg.PipesSubprocessClient:
    """Return the client that starts our programs."""
    return dg.PipesSubprocessClient(message_reader=WholeLineReader(), termination_timeout_seconds=TERMINATION_SECONDS)


def _reason(text: str) -> str:
    """Return why a program that gave no reason ended, by the exit code that ends Dagster's ``text``."""
    code = int(re.findall(r"-?\d+", text)[-1])
    if code == -signal.SIGKILL:
        return (
            "the program was killed (SIGKILL): most often the machine was out of memory; lower batch_rows of a recipe "
            "or CODEFT_WORKERS, and materialize again: what is finished is kept"
        )
    if code in {-signal.SIGTERM, 128 + signal.SIGTERM}:
        return "the program was asked to end (SIGTERM); materialize again: it goes on from what it has saved"
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"the program ended with {ended} and gave no reason; read the stderr of this step"


@contextmanager
def _forwarding(handler: Any) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path, is_over = Path(folder) / "messages", threading.Event()
        path.touch()
        thread = threading.Thread(target=_forward, args=(path, is_over, handler), daemon=True)
        thread.start()
        try:
            yield path
        finally:
            is_over.set()
            thread.join()


def _forward(path: Path, is_over: threading.Event, handler: Any) -> None:
    try:
        for line in whole_lines(path, is_over.is_set):
            handler.handle_message(json.loads(line))
    except:
        handler.report_pipes_framework_exception("reader of messages", sys.exc_info())
        raise
