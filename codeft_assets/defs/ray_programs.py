"""A Pipes client that runs our programs on the nodes of a Ray cluster, as ``PipesSubprocessClient`` runs them here.

dagster-ray's ``PipesRayJobClient`` is not used: it needs Ray's dashboard on the cluster and reads messages out of the
job's log, among the lines of everybody else. A Ray task streams them, and asks for GPUs by the same accounting.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from codeft_assets.defs.failures import ExplainedError, explain_program
from codeft_assets.store.data_root import Store
from codeft_assets.store.ray_executor import connected_ray
from codeft_assets.store.ray_program import ProgramFailedError, describe_program, reported_lines, start_program


@dataclass(frozen=True, kw_only=True)
class RayProgramClient(dg.PipesClient):
    """Runs programs as Ray tasks, several of one asset at a time; their messages are those of one program."""

    workers: int
    """CPUs of the cluster that is started where there is none."""
    root: str
    """The data root, which all nodes reach."""
    num_gpus: int | None = None
    """Of each program; None: one where the cluster has any."""
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
        """Run a command of ours on a node, and return what it reports.

        Raises:
            ValueError: no node has so many GPUs, or Ray is not installed.
            ConnectionError: there is no cluster.
            ExplainedError: the program failed, by the reason that it gave, or its node was lost.
        """
        from dagster._core.pipes.client import PipesClientCompletedInvocation

        ray, reader = connected_ray("ray", self.workers), _StreamReader()
        with dg.open_pipes_session(context, dg.PipesEnvContextInjector(), reader, extras=extras) as session:
            given = {**(env or {}), **session.get_bootstrap_env_vars()}
            handler = self.wrap(reader.handler)
            with self._started(ray, context, [command], given) as [lines]:
                try:
                    for line in lines:
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
        with self._started(connected_ray("ray", self.workers), context, commands, env or {}) as streams:
            try:
                for lines in streams:
                    for _ in lines:
                        pass
            except ProgramFailedError as error:
                raise ExplainedError(str(error)) from None

    @contextmanager
    def _started(
        self, ray: Any, context: dg.AssetExecutionContext, commands: Sequence[Sequence[str]], env: Mapping[str, str]
    ) -> Iterator[list[Iterator[bytes]]]:
        """Start programs and yield the lines that each reports; none of them runs any more at the end."""
        store, name = Store(self.root), f"{context.asset_key.to_user_string()} of run {context.run_id[:8]}"
        store.publish()
        names = [name] if len(commands) == 1 else [f"{name}, part {number + 1}" for number in range(len(commands))]
        programs = [
            describe_program(name, command, env, self.root, self.num_gpus)
            for name, command in zip(names, commands, strict=True)
        ]
        started = [(program, start_program(ray, program)) for program in programs]
        context.log.info(f"on the Ray cluster: {'; '.join(names)}")
        try:
            yield [reported_lines(ray, program, stream) for program, stream in started]
        except BaseException:
            for _, stream in started:
                ray.cancel(stream)  # a training saves its state; nothing happens where the task is over
            for _, stream in started:
                _wait_until_over(ray, stream)
            raise
        finally:
            for key in sorted({key for program in programs for key in program.folders}):
                store.folder(key)  # what the nodes have published


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
