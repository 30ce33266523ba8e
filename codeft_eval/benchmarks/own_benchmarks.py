"""A user's own benchmarks: the files that CODEFT_OWN_BENCHMARKS names, with no edit of this package.

A file is JSON lines of HumanEval's form, whose name is the benchmark's, or a Python module with a ``BENCHMARK``. The
module runs in every process that lists benchmarks, so it imports no more than it needs.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from codeft_eval.benchmarks.benchmark import Benchmark, Item, Rows
from codeft_eval.benchmarks.datafiles import DataFile, is_present
from codeft_eval.benchmarks.humaneval import COLUMNS, PROTOCOL, STOPS, humaneval_item

OWN_VARIABLE = "CODEFT_OWN_BENCHMARKS"
PAGE = "docs/your_own_benchmark.md"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def own_benchmarks(taken: Collection[str]) -> dict[str, Benchmark]:
    """Return the benchmarks of the files that the variable names, divided as in PATH.

    Raises:
        ValueError: a file is absent or defines no benchmark, or a name is bad or ``taken``.
    """
    found: dict[str, Benchmark] = {}
    for text in filter(None, os.environ.get(OWN_VARIABLE, "").split(os.pathsep)):
        path = Path(text).expanduser().absolute()
        if not path.is_file():
            raise ValueError(f"{OWN_VARIABLE} names {str(path)!r}, which is no file; name files, divided by a colon")
        if path.suffix not in _READERS:
            raise ValueError(f"{str(path)!r} is neither {' nor '.join(_READERS)}; {PAGE} shows both")
        benchmark = _READERS[path.suffix](path)
        _check_name(benchmark.name, path, {*taken, *found})
        found[benchmark.name] = benchmark
    return found


def _check_name(name: str, path: Path, taken: Collection[str]) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{str(path)!r}: {name!r} is no name of a benchmark: lower-case letters, digits and underscores, a letter "
            "first; rename it"
        )
    if name in taken:
        raise ValueError(f"{str(path)!r}: there is a benchmark {name!r} already; rename yours")


def _from_rows(path: Path) -> Benchmark:
    return Benchmark(
        name=path.stem,
        title=path.stem.replace("_", " "),
        kind="code",
        languages=("python",),
        protocol=PROTOCOL,
        version=1,
        data=DataFile(name=path.name, columns=COLUMNS, origin=str(path), path=str(path)),
        read=partial(_read_rows, path),
        stops=STOPS,
        max_new_tokens=768,
    )


def _read_rows(path: Path, rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield items of HumanEval's form.

    Raises:
        ValueError: there is none, or a row is not of that form.
    """
    if not rows:
        raise ValueError(f"{str(path)!r} has no rows; write one JSON object a line, as {PAGE} shows")
    seen = set[str]()
    for number, row in enumerate(rows, 1):
        missing = [name for name in COLUMNS if not isinstance(row[name], str) or not row[name].strip()]
        if missing:
            raise ValueError(
                f"row {number} of {str(path)!r} has {row[missing[0]]!r} for {missing[0]!r}; each row needs text for "
                f"{', '.join(COLUMNS)}, as {PAGE} shows"
            )
        if row["task_id"] in seen:
            raise ValueError(f"row {number} of {str(path)!r} repeats the task_id {row['task_id']!r}; give it another")
        seen.add(row["task_id"])
        item = humaneval_item(row, row["test"])
        place = f"row {number} of {str(path)!r}"
        _check_defines(item.source_prefix + item.solution, item.entry_point, f"{place}: prompt and canonical_solution")
        _check_defines(item.test, "check", f"{place}: test")
        yield item


def _check_defines(source: str, name: str, place: str) -> None:
    """Raise where a row's program could never be judged.

    Raises:
        ValueError: ``source`` is no Python, or does not define the function.
    """
    try:
        defined = {getattr(node, "name", "") for node in ast.parse(source).body}
    except SyntaxError as error:
        raise ValueError(f"{place}, line {error.lineno}: {error.text!r}: {error.msg}; write valid Python") from error
    if name not in defined:
        raise ValueError(f"{place} define no {name!r}, only {sorted(filter(None, defined))}; define that function")


def _from_module(path: Path) -> Benchmark:
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return replace(_load_module(path, sha256), module_sha256=sha256)


@cache
def _load_module(path: Path, sha256: str) -> Benchmark:
    """Return the module's benchmark; a process runs the same code once."""
    spec = importlib.util.spec_from_file_location(f"own_benchmark_{path.stem}_{sha256[:12]}", path)
    assert spec is not None, "the suffix is .py"
    assert spec.loader is not None, "a file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f"{str(path)!r}, line {lines[-1]}" if lines else repr(str(path))
        raise ValueError(f"{place}: {type(error).__name__}: {error}; correct the module") from error
    benchmark = getattr(module, "BENCHMARK", None)
    if not isinstance(benchmark, Benchmark):
        raise ValueError(f"{str(path)!r}: BENCHMARK is {benchmark!r}; set it to a Benchmark, as {PAGE} shows")
    absent = [data.path for data in (benchmark.data, *benchmark.more_data) if data.path and not is_present(data)]
    if absent:
        raise ValueError(f"{str(path)!r}: its data {absent[0]!r} is no file; put it there, or correct the path")
    return benchmark


_READERS: dict[str, Callable[[Path], Benchmark]] = {".jsonl": _from_rows, ".py": _from_module}
