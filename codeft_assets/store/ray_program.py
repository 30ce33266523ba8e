"""One of our programs on a node of a Ray cluster: training, generation, judging.

Invariant: the program sees what it would see on the machine of the asset. On a shared data root these are the same
paths; of a root on object storage the node has copies, and publishes what the program wrote, also where it failed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from dagster_pipes import DAGSTER_PIPES_MESSAGES_ENV_VAR, PipesDefaultMessageWriter, encode_param

from codeft_assets.base.processes import TERMINATION_SECONDS, end_with_parent
from codeft_assets.base.report import whole_lines
from codeft_assets.store.data_root import Store
from codeft_assets.store.mirror import cache_folder, copies_named_by
from codeft_assets.store.ray_executor import environment_hash, interruptible, run_checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A command of ours, and what it needs of the node."""

    name: str
    command: tuple[str, ...]
    """Without the interpreter, which is the node's."""
    env: Mapping[str, str]
    """Besides the node's own."""
    root: str
    """The data root."""
    num_gpus: int | None
    """All of one node; None: one where the cluster has any."""
    cache: str = ""
    """Folder of the copies of a remote data root on the machine that wrote the command."""
    folders: tuple[str, ...] = ()
    """Keys of the folders of files that the command names, of a remote root."""
    tables: tuple[str, ...] = ()
    """Keys of the tables that it names."""
    publishes: bool = True
    """Whether the node publishes what is in its copies when the program has ended."""


class ProgramFailedError(RuntimeError):
    """A program ended with an error, or its node or its process was lost."""


def describe_program(
    name: str, command: Sequence[str], env: Mapping[str, str], root: str, num_gpus: int | None
) -> Program:
    """Return the program for a node: of a remote data root with the keys of what ``command`` and ``env`` name."""
    assert command[0] == sys.executable, "our programs are Python's"
    words = tuple(command[1:])
    facts = {"name": name, "command": words, "env": dict(env), "root": root, "num_gpus": num_gpus}
    if not Store(root).is_remote:
        return Program(**facts)
    folders, tables = copies_named_by(root, [*words, *env.values()])
    return Program(**facts, cache=str(cache_folder(root)), folders=folders, tables=tables)


@dataclass(frozen=True, slots=True)
class Started:
    """A program that runs on a node."""

    name: str
    stream: Any
    """Ray's generator of the lines that it reports."""


def start_program(ray: Any, program: Program, placement: Mapping[str, Any] | None = None) -> Started:
    """Start the program where its GPUs are free.

    Args:
        ray: The module, connected.
        program: What to start.
        placement: Of ``reserved_nodes``; without it, any node.

    Raises:
        ValueError: no node has as many GPUs.
    """
    place = placement or {"num_gpus": wanted_gpus(ray, program.name, program.num_gpus)}
    task = ray.remote(num_cpus=1, max_retries=0, num_returns="streaming")(_run_checked)
    stream = task.options(name=program.name, **place).remote(environment_hash(), program)
    return Started(program.name, stream)


def wanted_gpus(ray: Any, name: str, num_gpus: int | None, num_nodes: int = 1) -> int:
    """Return how many GPUs a program asks of each of its nodes, of which ``num_gpus`` is None for one if there are any.

    Raises:
        ValueError: fewer than ``num_nodes`` nodes have as many; Ray itself would wait for them.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    by_node = sorted((int(node.get("GPU", 0)) for node in nodes if node.get("CPU", 0) >= 1), reverse=True)
    if num_nodes > max(1, len(by_node)):
        raise ValueError(
            f"{name} asks for {num_nodes} nodes, and the Ray cluster has {len(by_node)} with a CPU; start others with "
            f"ray start --address, or set CODEFT_NODES to at most {len(by_node)}"
        )
    most = by_node[num_nodes - 1] if by_node else 0
    wanted = min(1, most) if num_gpus is None else num_gpus
    if wanted > most:
        where = "one node, and no node" if num_nodes == 1 else f"{num_nodes} nodes each, and not so many nodes"
        raise ValueError(
            f"{name} asks for {wanted} GPUs of {where} of the Ray cluster has more than {most}; "
            f"start one with ray start --num-gpus {wanted}, or set CODEFT_GPUS to at most {most}"
        )
    return wanted


@contextmanager
def reserved_nodes(ray: Any, name: str, num_gpus: int | None, num_nodes: int) -> Iterator[tuple[list[Any], str]]:
    """Wait for nodes that are free at once; yield the options of Ray's task on each, and a free host:port of the first.

    Raises:
        ValueError: the cluster has not so many nodes, or not so many GPUs on each.
    """
    strategies = import_module("ray.util.scheduling_strategies")  # no type checker finds it where the extra is not
    wanted = wanted_gpus(ray, name, num_gpus, num_nodes)
    bundle = {"CPU": 1} | ({"GPU": wanted} if wanted else {})
    group = ray.util.placement_group([bundle] * num_nodes, strategy="STRICT_SPREAD", name=name)
    try:
        with interruptible():
            ray.get(group.ready())
        placements = [
            {"num_gpus": wanted, "scheduling_strategy": strategies.PlacementGroupSchedulingStrategy(group, number)}
            for number in range(num_nodes)
        ]
        yield placements, ray.get(ray.remote(num_cpus=1)(_free_endpoint).options(**placements[0]).remote())
    finally:
        ray.util.remove_placement_group(group)


def _free_endpoint() -> str:
    ray = import_module("ray")
    with socket.socket() as free:
        free.bind(("", 0))
        return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"


def reported_lines(ray: Any, programs: Sequence[Started]) -> Iterator[tuple[int, bytes | None]]:
    """Yield what programs report: the number of the program and the line, None once it has ended.

    Raises:
        ProgramFailedError: one of them failed, or its process or its node was lost; the first that did.
    """
    errors, running = ray.exceptions, dict(enumerate(programs))
    while running:
        with interruptible():
            [ready], _ = ray.wait([program.stream for program in running.values()], num_returns=1)
        number = next(number for number, program in running.items() if program.stream is ready)
        try:
            with interruptible():
                line = ray.get(next(ready))
            yield number, line
        except StopIteration:
            del running[number]
            yield number, None
        except errors.RayTaskError as error:
            raise error.cause from error
        except errors.RayError as error:
            first_line = str(error).strip().split("\n")[0]
            raise ProgramFailedError(
                f"{running[number].name} lost its process or its node ({first_line}); run the asset again: a training "
                f"goes on from its last state on the data root, and answers that came are kept"
            ) from error


def _run_checked(driver_environment: str, program: Program) -> Iterator[bytes]:
    # Ray streams what a generator function yields, not a generator that a function returns
    for line in run_checked(driver_environment, run_program, program):  # noqa: UP028  Ray sends values, no list takes them
        yield line


def run_program(program: Program) -> Iterator[bytes]:
    """Run the program on this node and yield the lines that it reports, each once it is written.

    Raises:
        ProgramFailedError: it ended with an error.
    """
    command, env = _for_this_node(program)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "messages"
        path.touch()
        written_to = {PipesDefaultMessageWriter.FILE_PATH_KEY: str(path)}
        process = subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | env | {DAGSTER_PIPES_MESSAGES_ENV_VAR: encode_param(written_to)},
            preexec_fn=end_with_parent,
        )
        try:
            yield from whole_lines(path, lambda: process.poll() is not None)
        finally:  # also where the driver cancels the task
            process.terminate()
            _wait(process)
            if program.publishes:
                Store(program.root).publish()
    if process.returncode:
        raise ProgramFailedError(_failure(program.name, process.returncode))


def _for_this_node(program: Program) -> tuple[list[str], dict[str, str]]:
    """Return command and environment with this node's folders, which hold the copies then."""
    store = Store(program.root)
    for key in program.folders:
        store.folder(key)
    for key in program.tables:
        store.local_table(key)
    if not program.cache:
        return list(program.command), dict(program.env)
    here = str(cache_folder(program.root))
    command = [word.replace(program.cache, here) for word in program.command]
    return command, {name: value.replace(program.cache, here) for name, value in program.env.items()}


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(TERMINATION_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _failure(name: str, code: int) -> str:
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return (
        f"{name} {how} on node {os.uname().nodename}; its own words are in the run's output; run the asset again: what "
        f"it has saved is used"
    )
