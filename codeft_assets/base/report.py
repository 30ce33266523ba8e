"""Progress and results of a program: to Dagster Pipes when it was started that way, else to the terminal.

``whole_lines`` is the other end: it reads what a program writes.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

OBSERVATION = "observation"
"""Key of the custom Pipes messages that hold measurements."""
FAILURE = "failure"
"""Key of the custom Pipes message that says why a program failed."""
_PAUSE_SECONDS = 0.05
_PACKAGES = ("codeft_assets", "codeft_eval", "codeft_training")


class Reporter(Protocol):
    """Receives log lines, measurements and the final materialization of a program."""

    def log(self, line: str) -> None:
        """Report progress."""
        ...

    def observe(self, values: Mapping[str, Any]) -> None:
        """Report measurements while the program runs."""
        ...

    def materialize(self, metadata: Mapping[str, Any], data_version: str) -> None:
        """Report the finished result."""
        ...

    def fail(self, reason: str) -> None:
        """Report why there is no result: value, rule and remedy."""
        ...


class TerminalReporter:
    """Log lines to standard error, the result to standard output."""

    def log(self, line: str) -> None:
        """Report progress."""
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def observe(self, values: Mapping[str, Any]) -> None:
        """Do nothing: the log line has the same numbers."""
        del values

    def materialize(self, metadata: Mapping[str, Any], data_version: str) -> None:
        """Print the metadata, one entry a line."""
        for name, value in metadata.items():
            shown = value["raw_value"] if isinstance(value, dict) else value
            sys.stdout.write(f"{name}: {shown}\n")
        sys.stdout.write(f"data_version: {data_version}\n")

    def fail(self, reason: str) -> None:
        """Print the reason."""
        self.log(f"error: {reason}")


class SilentReporter:
    """Nothing but errors: for a process whose result another process reports, such as a rank above 0."""

    def __init__(self, name: str) -> None:
        self._name = name

    def log(self, line: str) -> None:
        """Do nothing."""
        del line

    def observe(self, values: Mapping[str, Any]) -> None:
        """Do nothing."""
        del values

    def materialize(self, metadata: Mapping[str, Any], data_version: str) -> None:
        """Do nothing."""
        del metadata, data_version

    def fail(self, reason: str) -> None:
        """Print the reason."""
        sys.stderr.write(f"{self._name}: error: {reason}\n")


class PipesReporter:
    """Everything to the Dagster run that started this process."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def log(self, line: str) -> None:
        """Log a line in the run."""
        self._context.log.info(line)

    def observe(self, values: Mapping[str, Any]) -> None:
        """Send measurements as a custom message."""
        self._context.report_custom_message({OBSERVATION: dict(values)})

    def materialize(self, metadata: Mapping[str, Any], data_version: str) -> None:
        """Report the asset's materialization."""
        self._context.report_asset_materialization(metadata=dict(metadata), data_version=data_version)

    def fail(self, reason: str) -> None:
        """Send the reason as a custom message, and print it: the step's output is complete by itself."""
        self._context.report_custom_message({FAILURE: reason})
        sys.stderr.write(f"error: {reason}\n")


@contextmanager
def open_reporter(*, terminal: Reporter | None = None) -> Iterator[Reporter]:
    """Yield the reporter of this process: silent for ranks above 0, Pipes where Dagster started it, else terminal.

    ``terminal`` takes the place of a ``TerminalReporter``, for a program that prints its results itself.
    """
    rank = os.environ.get("RANK", "0")
    if rank != "0":
        yield SilentReporter(f"process {rank}")
    elif "DAGSTER_PIPES_CONTEXT" not in os.environ:
        yield terminal or TerminalReporter()
    else:
        # not of the standard library: imported only where Dagster, and so this package, is there
        from dagster_pipes import open_dagster_pipes

        with open_dagster_pipes() as context:
            reporter = PipesReporter(context)
            try:
                yield reporter
            except Exception as error:
                reporter.fail(f"{type(error).__name__}: {error} (its traceback is in the stderr of this step)")
                raise


@contextmanager
def own_logs_printed() -> Iterator[None]:
    """Print what the project's modules log to standard error.

    The root logger gets no handler: it would print a library's notes, and those of the Hub's client a second time.
    """
    handler = logging.StreamHandler(sys.stderr)
    loggers = [logging.getLogger(package) for package in _PACKAGES]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def out_of_memory(error: Exception) -> str:
    """Return in one line that memory ran out, or "" for another error: of a CPU's memory torch raises RuntimeErrors."""
    said = str(error)
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if not known and "out of memory" not in said and "can't allocate memory" not in said:
        return ""
    return ": ".join(["out of memory", *said.splitlines()[:1]])


def markdown(text: str) -> dict[str, str]:
    """Return ``text`` as a metadata value that the web UI renders."""
    return {"type": "md", "raw_value": text}


def path(value: object) -> dict[str, str]:
    """Return a path as a metadata value."""
    return {"type": "path", "raw_value": str(value)}


def whole_lines(path: Path, is_over: Callable[[], bool]) -> Iterator[bytes]:
    """Yield the lines of a file that grows, each once it has its end, until ``is_over`` and all is read."""
    rest = b""
    with path.open("rb") as file:
        while True:
            was_over = is_over()  # asked before the last read, which then sees all that was written
            found = file.read()
            *lines, rest = (rest + found).split(b"\n")
            yield from lines
            if was_over:
                return
            if not found:
                time.sleep(_PAUSE_SECONDS)
