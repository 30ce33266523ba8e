"""A subprocess whose measurements are in the web UI while it runs: each becomes an observation, which the UI plots."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import dagster as dg

from codeft_assets.base.report import OBSERVATION
from codeft_assets.defs.messages import WholeLineReader
from codeft_assets.defs.ray_programs import ProgramClient, RayProgramClient
from codeft_assets.defs.web_ui.metadata import short_key

MIN_SECONDS = 2.0
"""Between two observations of the same kind: a long run must not fill the event log."""

Values = Mapping[str, Any]


def observing(
    pipes: ProgramClient, context: dg.AssetExecutionContext, transform: Callable[[Values], Values] = dict
) -> ProgramClient:
    """Return a client like ``pipes`` that observes the asset each time its process reports measurements.

    ``transform`` maps measurements to the values that are shown; the process does not wait for it.
    """
    if isinstance(pipes, RayProgramClient):
        return replace(pipes, wrap=lambda handler: _ObservingHandler(handler, context, transform))
    return dg.PipesSubprocessClient(
        env=pipes.env,
        cwd=pipes.cwd,
        message_reader=_ObservingReader(context, transform),
        termination_timeout_seconds=pipes.termination_timeout_seconds,
    )


class _ObservingReader(WholeLineReader):
    def __init__(self, context: dg.AssetExecutionContext, transform: Callable[[Values], Values]) -> None:
        super().__init__()
        self._context, self._transform = context, transform

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[Any]:
        with super().read_messages(_ObservingHandler(handler, self._context, self._transform)) as params:  # type: ignore[arg-type]
            yield params


class _ObservingHandler:
    """Wraps Dagster's handler of messages, which keeps custom messages until the process has ended."""

    def __init__(self, handler: Any, context: dg.AssetExecutionContext, transform: Callable[[Values], Values]) -> None:
        self._handler, self._context, self._transform = handler, context, transform
        self._last: dict[frozenset[str], float] = {}
        self._latest: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    def handle_message(self, message: Mapping[str, Any]) -> None:
        payload = (message.get("params") or {}).get("payload")
        if message["method"] == "report_custom_message" and isinstance(payload, dict) and OBSERVATION in payload:
            self._observe(self._transform(payload[OBSERVATION]))
            return
        self._handler.handle_message(message)

    def _observe(self, values: Mapping[str, float]) -> None:
        kind, now = frozenset(values), time.monotonic()
        if now - self._last.get(kind, -MIN_SECONDS) < MIN_SECONDS:
            return
        self._last[kind] = now
        shown = {
            short_key(name): float(f"{value:.5g}") if isinstance(value, float) else value
            for name, value in values.items()
        }
        # all that is known so far, each number as it was last measured: the UI breaks a line where a value is missing
        self._latest |= shown
        self._context.log_event(dg.AssetObservation(asset_key=self._context.asset_key, metadata=dict(self._latest)))
