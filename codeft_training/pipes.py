"""Reports to the orchestrator that started this process, when one did; otherwise to the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol


class Reporter(Protocol):
    """Where log lines and the final materialization go."""

    def log(self, line: str) -> None:
        """Report progress."""
        ...

    def observe(self, values: Mapping[str, Any]) -> None:
        """Report what was measured on the way."""
        ...

    def materialize(self, metadata: Mapping[str, Any], data_version: str) -> None:
        """Report the finished result."""
        ...


class _Terminal:
    def log(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def observe(self, values: Mapping[str, Any]) -> None:
        del values  # the line in the log says it

    def materialize(self, metadata: Mapping[str, Any], data_version: str) -> None:
        for name, value in metadata.items():
            shown = value["raw_value"] if isinstance(value, dict) else value
            sys.stdout.write(f"{name}: {shown}\n")
        sys.stdout.write(f"data_version: {data_version}\n")


class _Helper:
    """A process that helps another to train: the other one reports; only what goes wrong here is told."""

    def log(self, line: str) -> None:
        if line.startswith("error"):
            sys.stderr.write(f"process {os.environ['RANK']}: {line}\n")

    def observe(self, values: Mapping[str, Any]) -> None:
        del values

    def materialize(self, metadata: Mapping[str, Any], data_version: str) -> None:
        del metadata, data_version


class _Pipes:
    def __init__(self, context: Any) -> None:
        self._context = context

    def log(self, line: str) -> None:
        self._context.log.info(line)

    def observe(self, values: Mapping[str, Any]) -> None:
        self._context.report_custom_message({"observation": dict(values)})

    def materialize(self, metadata: Mapping[str, Any], data_version: str) -> None:
        self._context.report_asset_materialization(metadata=dict(metadata), data_version=data_version)


@contextmanager
def reporter() -> Iterator[Reporter]:
    """Yield the reporter of this process."""
    if os.environ.get("RANK", "0") != "0":
        yield _Helper()
        return
    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        yield _Terminal()
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as context:
        yield _Pipes(context)


def markdown(text: str) -> dict[str, str]:
    """Return ``text`` as Markdown metadata."""
    return {"raw_value": text, "type": "md"}


def path(value: object) -> dict[str, str]:
    """Return a path as metadata."""
    return {"raw_value": str(value), "type": "path"}
