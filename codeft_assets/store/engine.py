"""Runs a pure shard function over many units of work, wherever an executor runs them.

Invariant: a unit whose fingerprint is already committed is never run again, and the resulting table does not depend on
the executor, on interruptions, or on the order in which units finish.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from codeft_assets.curation.report import StageReport, merge_reports
from codeft_assets.store.executors import StartExecutor, in_process
from codeft_assets.store.files import write_file
from codeft_assets.store.manifest import Manifest, Shard, combined_hash
from codeft_assets.store.progress import OnProgress, progress_bar
from codeft_assets.store.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that a unit's result depends on besides its input."""

    name: str
    code_version: str
    """Computed from the stage's declared values, never bumped by hand."""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def fingerprint(self, input_fingerprint: str) -> str:
        """Return the hex name of the result on an input."""
        parameters = json.dumps(self.parameters, sort_keys=True)
        return combined_hash((self.name, self.code_version, parameters, input_fingerprint))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One piece of work: the function's arguments, and the identity of its input."""

    name: str
    fingerprint: str
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """One output shard of a unit, with the rows that were left out of it."""

    rows: pa.Table
    report: StageReport
    rejects: pa.Table | None = None
    in_parts: bool = False
    """The shard is read in parts, by ``Table.read_part``."""


ShardFunction = Callable[..., Iterator[ShardResult]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stage of several that follow each other."""

    function: ShardFunction
    units: Sequence[Unit]
    stage: Stage
    output: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """A committed table, and how much of it was computed and how much reused."""

    manifest: Manifest
    num_run: int
    num_skipped: int
    seconds: float


def table_units(tables: Iterable[Table], *args: Any) -> list[Unit]:
    """Return one unit per shard of ``tables``; the function is called with ``(table, shard, *args)``."""
    return [
        Unit(name=f"{table.key}/{shard.unit}/{shard.path}", fingerprint=shard.content_hash, args=(table, shard, *args))
        for table in tables
        for shard in table.manifest().shards
    ]


def is_made_of(table: Table, fingerprints: Iterable[str]) -> bool:
    """Whether the table is the result of its stage on inputs with these fingerprints, and no others."""
    made = table.manifest()
    stage = Stage(name=made.stage, code_version=made.code_version, parameters=made.parameters)
    return made.fingerprints == tuple(map(stage.fingerprint, fingerprints))


def whole_unit(name: str, inputs: Iterable[Table | str], *args: Any) -> list[Unit]:
    """Return the single unit of a stage that must see all its inputs at once; strings are hashes of other inputs."""
    hashes = [part if isinstance(part, str) else part.manifest().content_hash for part in inputs]
    return [Unit(name=name, fingerprint=combined_hash(hashes), args=args)]


def map_shards(  # noqa: PLR0913  the stage, its executor and its callbacks
    function: ShardFunction,
    units: Sequence[Unit],
    output: Table,
    *,
    stage: Stage,
    executor: StartExecutor = in_process,
    on_progress: OnProgress | None = None,
    accept: Callable[[Manifest], None] | None = None,
    settle: Callable[[Manifest], Manifest] | None = None,
) -> StageRun:
    """Run ``function(*unit.args)`` for every unit that is not committed yet, then commit the table.

    Args:
        function: a module-level function that yields the unit's output shards one by one.
        units: in the order of their shards in the table.
        output: the table to write.
        stage: identifies the computation; with the unit's fingerprint it names the result.
        executor: where units run.
        on_progress: called after every unit; a bar is drawn besides when stderr is a terminal.
        accept: called with the finished manifest before the commit; when it raises, the table stays unchanged.
        settle: returns the manifest to commit, for what only all shards together decide; units keep what they wrote.

    Raises:
        ValueError: two units have the same name.
        RuntimeError: a worker was killed from outside. After this, or a unit's own error, finished units are kept.
    """
    _check_names(units)
    start = time.monotonic()
    fingerprints = [stage.fingerprint(unit.fingerprint) for unit in units]
    with output.lock():
        done = {fp: commit for fp in set(fingerprints) if (commit := _read_unit(output, fp)) is not None}
        missing = {fp: unit for fp, unit in zip(fingerprints, units, strict=True) if fp not in done}
        with progress_bar(stage.name, len(units), on_progress) as advance:
            advance(num_skipped := len(units) - len(missing), 0)
            for fingerprint, commit in _run_units(function, missing, output, executor):
                done[fingerprint] = commit
                advance(1, sum(shard.num_rows for shard in commit.shards))
        manifest = _commit(output, _build_manifest(output, stage, fingerprints, done), accept, settle)
    return StageRun(manifest=manifest, num_run=len(missing), num_skipped=num_skipped, seconds=time.monotonic() - start)


def _commit(
    output: Table,
    manifest: Manifest,
    accept: Callable[[Manifest], None] | None,
    settle: Callable[[Manifest], Manifest] | None,
) -> Manifest:
    if accept is not None:
        accept(manifest)
    current = output.manifest() if output.exists() else None
    if current is not None and current.fingerprints == manifest.fingerprints and not output.gone_shards(current):
        return current
    settled = settle(manifest) if settle is not None else manifest
    output.commit(settled)
    return settled


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnitCommit:
    shards: tuple[Shard, ...]
    rejects: tuple[Shard, ...]
    report: StageReport


def _check_names(units: Sequence[Unit]) -> None:
    names = [unit.name for unit in units]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"units named twice: {twice[:3]}; every unit of a stage needs a name of its own")


def _run_units(
    function: ShardFunction, missing: Mapping[str, Unit], output: Table, start_executor: StartExecutor
) -> Iterator[tuple[str, _UnitCommit]]:
    names = {f"{output.key}: {unit.name}": fingerprint for fingerprint, unit in missing.items()}
    with start_executor(len(missing)) as executor:
        for name, (fingerprint, unit) in zip(names, missing.items(), strict=True):
            executor.submit(name, run_unit, function, unit, output, fingerprint)
        for name, commit in executor.as_completed():
            yield names[name], commit


def run_unit(function: ShardFunction, unit: Unit, output: Table, fingerprint: str) -> _UnitCommit:
    """Run one unit, write its shards, and commit it by writing ``units/<fingerprint>.json`` last.

    Raises:
        Exception: what the function or a write raised, with a note that names the unit.
    """
    try:
        commit = _write_shards(function(*unit.args), unit, output, fingerprint)
    except Exception as error:
        error.add_note(f"in unit {unit.name!r} of table {output.key!r}; the units that finished are kept")
        raise
    text = json.dumps(asdict(commit), sort_keys=True)
    write_file(output.filesystem, output.path(f"units/{fingerprint}.json"), text.encode())
    return commit


def _write_shards(results: Iterable[ShardResult], unit: Unit, output: Table, fingerprint: str) -> _UnitCommit:
    shards, rejects, reports, iterator = [], [], [], iter(results)
    while (result := next(iterator, None)) is not None:
        name = f"{fingerprint}-{len(shards):05d}.parquet"
        shard = output.write_shard(f"shards/{name}", result.rows, unit=unit.name, in_parts=result.in_parts)
        shards.append(shard)
        if result.rejects is not None and result.rejects.num_rows:
            rejects.append(output.write_shard(f"rejects/{name}", result.rejects, unit=unit.name))
        reports.append(result.report)
        del result  # before the next one is made: memory holds one
    return _UnitCommit(shards=tuple(shards), rejects=tuple(rejects), report=merge_reports(reports))


def _read_unit(output: Table, fingerprint: str) -> _UnitCommit | None:
    try:
        record = json.loads(output.filesystem.cat_file(output.path(f"units/{fingerprint}.json")))
    except FileNotFoundError:
        return None
    shards = tuple(Shard(**shard) for shard in record["shards"])
    rejects = tuple(Shard(**shard) for shard in record["rejects"])
    if not all(output.filesystem.exists(output.path(shard.path)) for shard in (*shards, *rejects)):
        return None  # a shard was deleted by hand: do the unit again
    examples = {reason: tuple(found) for reason, found in record["report"]["examples"].items()}
    report = StageReport(**record["report"] | {"examples": examples})
    return _UnitCommit(shards=shards, rejects=rejects, report=report)


def _build_manifest(
    output: Table, stage: Stage, fingerprints: Sequence[str], done: Mapping[str, _UnitCommit]
) -> Manifest:
    commits = [done[fingerprint] for fingerprint in fingerprints]
    return Manifest(
        key=output.key,
        stage=stage.name,
        code_version=stage.code_version,
        parameters=dict(stage.parameters),
        fingerprints=tuple(fingerprints),
        shards=tuple(shard for commit in commits for shard in commit.shards),
        rejects=tuple(shard for commit in commits for shard in commit.rejects),
        report=merge_reports(commit.report for commit in commits),
    )
