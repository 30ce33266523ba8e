"""The log of a run as a person in front of a terminal wants it: one line for each finished asset, n of N.

Chosen by ``{"loggers": {"terminal": {"config": {}}}}``. Where ``CODEFT_TERMINAL_FD`` names an open file descriptor, the
lines go there, apart from what libraries and subprocesses print.
"""

import ast
import contextlib
import functools
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

import dagster as dg

from codeft_assets.defs.failures import failed_check_reason

DESCRIPTOR = "CODEFT_TERMINAL_FD"
SECONDS_BETWEEN_LINES = 15.0
"""Of a running asset: training logs every twenty steps."""
MAX_REASONS = 4
_VALUE = re.compile(r"(?:ValueError|codeft_[\w.]*\.[A-Z]\w*): ")
"""Begins an error that a person can mend, as Dagster writes it down."""
_SKIPPED = re.compile(r"Dependencies for step \S+ .*Not executing\.")
"""Dagster's word for a step below one that failed."""
_WIDTH = 32
_POSITION = 10


class TerminalHandler(logging.Handler):
    """Prints finished assets, failed checks, errors, and now and then a line of an asset that runs."""

    def __init__(self, file: TextIO) -> None:
        """Print to ``file``."""
        super().__init__()
        self.file = file
        self.names: dict[str, str] = {}  # of steps: the keys of their assets
        self.num_steps = self.num_done = self.num_checks = self.num_passed = self.num_skipped = 0
        self.has_failed = False
        self.asset = self.summary = ""
        self.printed_at = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Print what a record means, if it means something."""
        event = getattr(record, "dagster_event", None)
        lines = self._event_lines(event) if event else self._message_lines(record)
        for line in lines:
            self.file.write(f"{line}\n")
            self.file.flush()
            self.printed_at = time.monotonic()

    def _message_lines(self, record: logging.LogRecord) -> Iterator[str]:
        # Dagster puts the job, the run and the step before a message
        *_, step, text = record.getMessage().split(" - ", 3)
        if _SKIPPED.match(text):
            self.num_skipped += 1
            return
        if record.levelno >= logging.WARNING:
            yield f"{'':{_POSITION}} {self._asset_name(step):{_WIDTH}} {record.levelname.lower()}: {text.strip()}"
        elif self._is_due() and record.levelno >= logging.INFO and not text.startswith("["):
            yield f"{'':{_POSITION}} {self._asset_name(step):{_WIDTH}} {text.strip()}"

    def _is_due(self) -> bool:
        return time.monotonic() - self.printed_at > SECONDS_BETWEEN_LINES

    def _event_lines(self, event: dg.DagsterEvent) -> Iterable[str]:
        return _PRINTERS[event.event_type](self, event) if event.event_type in _PRINTERS else ()

    def _begin(self, event: dg.DagsterEvent) -> Iterable[str]:
        keys = event.engine_event_data.metadata.get("step_keys")
        if keys and not self.num_steps:
            self.num_steps = len(ast.literal_eval(str(keys.value)))
        return ()

    def _begin_step(self, _: dg.DagsterEvent) -> Iterable[str]:
        self.asset = self.summary = ""
        return ()

    def _note(self, event: dg.DagsterEvent) -> Iterable[str]:
        made = event.step_materialization_data.materialization
        self.asset, self.summary = made.asset_key.to_user_string(), _summary(made.metadata)
        return ()

    def _end_step(self, _: dg.DagsterEvent) -> Iterable[str]:
        self.num_done += 1
        return [f"{self._position()} {self.asset:{_WIDTH}} {self.summary}".rstrip()] if self.asset else ()

    def _fail_step(self, event: dg.DagsterEvent) -> Iterable[str]:
        self.has_failed = True
        error = event.step_failure_data.error
        if error is not None and error.cls_name == "DagsterAssetCheckFailedError":  # its check has said why
            return ()
        is_cancelled = error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__
        what = "cancelled" if is_cancelled else f"failed: {_reason(event)}"
        return [f"{self._position()} {self._asset_name(event.step_key or ''):{_WIDTH}} {what}"]

    def _count_check(self, event: dg.DagsterEvent) -> Iterable[str]:
        check = event.asset_check_evaluation_data
        self.num_checks += 1
        self.num_passed += check.passed
        if check.passed:
            return ()
        why = f"{check.check_name}: {failed_check_reason(check)}"
        return [
            f"{'':{_POSITION}} {check.asset_key.to_user_string():{_WIDTH}} {check.severity.value.lower()}: check {why}"
        ]

    def _end(self, event: dg.DagsterEvent) -> Iterable[str]:
        is_failure = event.event_type is dg.DagsterEventType.RUN_FAILURE and not self.has_failed
        if is_failure and event.job_failure_data.error:
            yield f"the run failed: {_root_message(event.job_failure_data.error)}"
        if self.num_skipped:
            yield f"{'':{_POSITION}} {self.num_skipped} not run: each needs something that failed"
        if self.num_checks:
            yield f"\n{self.num_passed} of {self.num_checks} checks passed"

    def _asset_name(self, step_key: str) -> str:
        return self.names.get(step_key) or step_key.replace("__", "/", 1)

    def _position(self) -> str:
        width = len(str(self.num_steps))
        return f"{self.num_done:{width}} of {self.num_steps:{width}}".ljust(_POSITION)


_PRINTERS = {
    dg.DagsterEventType.ENGINE_EVENT: TerminalHandler._begin,
    dg.DagsterEventType.STEP_START: TerminalHandler._begin_step,
    dg.DagsterEventType.ASSET_MATERIALIZATION: TerminalHandler._note,
    dg.DagsterEventType.STEP_SUCCESS: TerminalHandler._end_step,
    dg.DagsterEventType.STEP_FAILURE: TerminalHandler._fail_step,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION: TerminalHandler._count_check,
    dg.DagsterEventType.RUN_SUCCESS: TerminalHandler._end,
    dg.DagsterEventType.RUN_FAILURE: TerminalHandler._end,
}


def _summary(metadata: Mapping[str, dg.MetadataValue]) -> str:
    """Return rows in, kept and dropped by reason, or what the asset measured instead."""
    values = {name: value.value for name, value in metadata.items()}
    if "num_in" in values and "num_out" in values:
        counts = f"{values['num_in']:,} in, {values['num_out']:,} kept"
        dropped = _reasons(str(values.get("dropped_by_reason", "")))
        parts = (counts, f"dropped: {dropped}" if dropped else "", str(values.get("note", "")))
        return "; ".join(filter(None, parts))
    if "num_passed" in values:
        return f"{values['num_passed']} of {values['num_items']} passed"
    if "final_loss" in values:
        size = f"{values['num_parameters']:,} parameters, {values['num_tokens_seen']:,} tokens seen"
        return f"{size}, loss {values['first_loss']} to {values['final_loss']}"
    named = ((name, values[name]) for name in ("vocab_size", "num_rows", "num_tokens") if name in values)
    return ", ".join(f"{name.removeprefix('num_')} {value:,}" for name, value in named)


def _reasons(table: str) -> str:
    """Return the first rows of the Markdown table of drop reasons as one phrase."""
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()[2:]]
    named = [f"{row[0]} {row[1]}" for row in rows if len(row) > 1]
    return ", ".join(named[:MAX_REASONS]) + (
        f" and {len(named) - MAX_REASONS} more" if len(named) > MAX_REASONS else ""
    )


def _reason(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    return _root_message(error) if error else str(event.message)


def _root_message(error: Any) -> str:
    """Return the message of the error that our code raised, between what Dagster wraps it in and its own cause.

    An error of a value says all without its class; where none is of a value, it is the deepest with its class.
    """
    chain = [error]
    while chain[-1].cause:
        chain.append(chain[-1].cause)
    ours = next((each for each in chain if _VALUE.match(each.message)), chain[-1])
    return _VALUE.sub("", ours.message.strip()) or ours.message.strip()


@functools.lru_cache(maxsize=1)
def _handler(_run_id: str) -> TerminalHandler:
    """Return the one handler of a run: Dagster makes a logger for the run and another for its steps."""
    file = sys.stderr
    with contextlib.suppress(ValueError, OSError):  # not given, or not open in this process
        file = os.fdopen(int(os.environ.get(DESCRIPTOR, "")), "w", closefd=False)
    return TerminalHandler(file)


@dg.logger(config_schema={}, description="One line for each finished asset, for a person in front of a terminal")
def terminal(context: dg.InitLoggerContext) -> logging.Logger:
    """Return a logger that prints through ``TerminalHandler``."""
    logger = logging.Logger("codeft", level=logging.DEBUG)  # events of a run are of this level
    handler = _handler(context.run_id or "")
    if context.job_def:
        keys = context.job_def.asset_layer.selected_asset_keys
        handler.names |= {key.to_python_identifier(): key.to_user_string() for key in keys}
    logger.addHandler(handler)
    return logger
