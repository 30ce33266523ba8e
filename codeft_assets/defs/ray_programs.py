"""A Pipes client that runs our programs on the nodes of a Ray cluster, as ``PipesSubprocessClient`` runs them here.

dagster-ray's ``PipesRayJobClient`` is not used: it needs Ray's dashboard on the cluster and reads messages out of the
job's log, among the lines of everybody else. A Ray task streams them, and asks for GPUs by the same accounting.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from codeft_assets.defs.failures import ExplainedError, explain_program
from codeft_assets.store.data_root import Store
from codeft_assets.store.ray_executor import connected_ray
from codeft_assets.store.ray_program import (
    ProgramFailedError,
    describe_program,
    reported_lines,
    reserved_nodes,
    start_program,
)


@dataclass(frozen=True, kw_only=True)
class RayProgramClient(dg.PipesClient):
    """Runs programs as Ray tasks, several of one asset at a time; their messages are those of one program."""

    workers: int
    """CPUs of the cluster that is started where there is none."""
    root: str
    """The data root, which all nodes reach."""
    num_gpus: int | None = None
    """Of each program on each of its nodes; None: one where the cluster has any."""
    num_nodes: int = 1
    """Of a program that ``run`` starts: a training."""
    wrap: Callable[[Any], Any] = lambda handler: handler
    """Wraps Dagster's handler of messages."""

    def run(
        self,
        *,
        context: dg.AssetExecutionContext,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        extras: Any = None,
    ) -> Any:
        """Run a command of ours on a node, or on several at once, and return what the first reports.

        Raises:
            ValueError: there are not so many nodes with so many GPUs, or Ray is not installed.
            ConnectionError: there is no cluster.
            ExplainedError: the program failed, by the reason that it gave, or a node of it was lost.
        """
        from dagster._core.pipes.client import PipesClientCompletedInvocation

        ray, reader = connected_ray("ray", self.workers), _StreamReader()
        with dg.open_pipes_session(context, dg.PipesEnvContextInjector(), reader, extras=extras) as session:
            given = {**(env or {}), **session.get_bootstrap_env_vars()}
            handler = self.wrap(reader.handler)
            with (
                self._placed(ray, context, command) as (commands, placements),
                self._started(ray, context, commands, given, placements) as lines,
            ):
                try:
                    for line in _of_first(lines):
                        handler.handle_message(json.loads(line))
                except ProgramFailedError as error:
                    raise explain_program(reader.handler, str(error)) from None
        return PipesClientCompletedInvocation(session)

    def run_parts(
        self, context: dg.AssetExecutionContext, commands: Sequence[Sequence[str]], env: Mapping[str, str] | None = None
    ) -> None:
        """Run commands of ours at the same time, as far as the cluster has room; what they report is in its logs.

        Raises:
            Exception: as ``run``, of the first that fails; the others are asked to end.
        """
        anywhere = [{} for _ in commands]
        with self._started(connected_ray("ray", self.workers), context, commands, env or {}, anywhere) as lines:
            try:
                for _ in lines:
                    pass
            except ProgramFailedError as error:
                raise ExplainedError(str(error)) from None

    @contextmanager
    def _placed(
        self, ray: Any, context: dg.AssetExecutionContext, command: Sequence[str]
    ) -> Iterator[tuple[list[Sequence[str]], list[Mapping[str, Any]]]]:
        """Yield the command of each node, and the options of Ray's task that run it there."""
        if self.num_nodes == 1:
            yield [command], [{}]
            return
        context.log.info(f"waits until {self.num_nodes} nodes of the Ray cluster are free at once")
        with reserved_nodes(ray, _name(context), self.num_gpus, self.num_nodes) as (placements, endpoint):
            shared = [*command, "--nodes", str(self.num_nodes), "--rendezvous", endpoint]
            yield [[*shared, "--node-rank", str(rank)] for rank in range(self.num_nodes)], placements

    @contextmanager
    def _started(
        self,
        ray: Any,
        context: dg.AssetExecutionContext,
        commands: Sequence[Sequence[str]],
        env: Mapping[str, str],
        placements: Sequence[Mapping[str, Any]],
    ) -> Iterator[Iterator[tuple[int, bytes | None]]]:
        """Start programs and yield what they report; none of them runs any more at the end."""
        store, name = Store(self.root), _name(context)
        store.publish()
        names = [name] if len(commands) == 1 else [f"{name}, part {number + 1}" for number in range(len(commands))]
        programs = [
            describe_program(name, command, env, self.root, self.num_gpus)
            for name, command in zip(names, commands, strict=True)
        ]
        if self.num_nodes > 1:  # the first node alone writes; what others hold may be left from an earlier run
            programs = [replace(program, publishes=program is programs[0]) for program in programs]
        started = [
            start_program(ray, program, placement) for program, placement in zip(programs, placements, strict=True)
        ]
        context.log.info(f"on the Ray cluster: {'; '.join(names)}")
        try:
            yield reported_lines(ray, started)
        finally:
            for program in started:
                ray.cancel(program.stream)  # a training saves its state; nothing happens where the task is over
            for program in started:
                _wait_until_over(ray, program.stream)
            for key in sorted({key for program in programs for key in program.folders}):
                store.folder(key)  # what the nodes have published


def _name(context: dg.AssetExecutionContext) -> str:
    return f"{context.asset_key.to_user_string()} of run {context.run_id[:8]}"


def _of_first(lines: Iterator[tuple[int, bytes | None]]) -> Iterator[bytes]:
    """Yield what the first program reports until it has ended: then the others have nothing to do."""
    for number, line in lines:
        if number == 0:
            if line is None:
                return
            yield line


ProgramClient = dg.PipesSubprocessClient | RayProgramClient
"""Runs our programs, here or on a cluster."""


class _StreamReader(dg.PipesMessageReader):
    """Holds Dagster's handler for messages that the client reads itself."""

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[dict[str, Any]]:
        self.handler = handler
        yield {}  # the node chooses where the program writes

    def no_messages_debug_text(self) -> str:
        return "Attempted to read messages from the stream of a Ray task."


def _wait_until_over(ray: Any, stream: Any) -> None:
    for line in stream:
        try:
            ray.get(line)
        except ray.exceptions.RayError:
            return
