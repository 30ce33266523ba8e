"""The first half, where the teacher is: statements, then several solutions of each, in rounds.

Every answer is in the journal before it counts, under a key made of teacher, prompt and sample: a killed run goes on
where it was. A round ends with a file of everything that was written in it, which the other half judges.
"""

from __future__ import annotations

import gzip
import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from codeft_assets.base.calls import ANSWERED, FAILED, REFUSED, SENT, CallJournal, open_calls
from codeft_assets.base.files import write_atomically
from codeft_assets.exercises.taught.prompts import NUM_STATEMENT_SHOTS, Request, solution_request, statement_request
from codeft_assets.exercises.taught.statement import RejectedError, parse_statement
from codeft_assets.exercises.taught.topics import Task, draw_task

JOURNAL, SUMMARY, GENERATED = "journal.sqlite", "generation.json", "generated"
MAX_FILE_BYTES = 15 << 20
"""A part is split where it would be larger."""
_SECONDS = "seconds"
"""Kind of the journal's entries about rounds."""
_log = logging.getLogger(__name__)


class Teacher(Protocol):
    """A model that writes."""

    @property
    def identity(self) -> str:
        """The model with everything that decides its answers."""
        ...

    def answer(self, requests: Sequence[Request], journal: CallJournal) -> None:
        """Put an answer or a refusal of every request into the journal."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The amount that is asked for."""

    count: int
    """Statements."""
    first: int = 0
    """The number of the first one: runs of consecutive numbers are parts of one run."""
    seed: int = 0
    num_statements: int = 4
    """For each task: samples of one prompt, which is read once."""
    num_solutions: int = 4
    """For each statement."""
    round_statements: int = 25_600
    """More are asked for when all of them have their solutions; a round is the least that a time limit allows."""
    names: tuple[str, ...] = ()
    """Functions' names to start from."""

    def __post_init__(self) -> None:
        if min(self.count, self.num_statements, self.num_solutions, self.round_statements, self.first + 1) < 1:
            raise ValueError(f"{self}: counts must be at least 1")

    def rounds(self) -> Iterator[list[tuple[Task, int]]]:
        """Yield the tasks of each round with the numbers of their samples."""
        last = self.first + self.count
        for start in range(self.first, last, self.round_statements):
            numbers = range(start, min(start + self.round_statements, last))
            tasks = {
                number: draw_task(self.seed, number, NUM_STATEMENT_SHOTS, self.names)
                for number in range(numbers[0] // self.num_statements, numbers[-1] // self.num_statements + 1)
            }
            yield [(tasks[number // self.num_statements], number % self.num_statements) for number in numbers]


def generate(
    teacher: Teacher, plan: Plan, folder: Path, *, seconds: float = float("inf"), parts: Sequence[Path] = ()
) -> dict[str, Any]:
    """Write the parts ``generated-*.jsonl.gz`` and return the summary, which is written beside them.

    Answers in the journals of ``parts``, folders of runs of some of the numbers, are not asked for again.

    No round is begun that would end after ``seconds``, by the time that the one before took.

    Raises:
        ValueError: another run writes into the folder.
        OSError: it cannot be written.
    """
    begin = round_begin = time.monotonic()
    seen: set[str] = set()
    with open_calls(folder / JOURNAL) as journal:
        for part in parts:
            journal.store.absorb(part / JOURNAL)
        for number, samples in enumerate(plan.rounds()):
            rows = _write_round(teacher, plan, samples, journal, seen)
            _write_part(folder, f"{number:03}", rows)
            now = time.monotonic()
            journal.store.put(_SECONDS, [(str(number), str(now - round_begin))])
            summary = _summary(teacher, plan, journal, (number + 1) * plan.round_statements)
            write_atomically(folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
            _log.info("asked for %d of %d statements: %s", summary["num_statements"], plan.count, summary)
            if 2 * now - round_begin - begin > seconds:
                break
            round_begin = now
    return summary


def _write_round(
    teacher: Teacher, plan: Plan, samples: Sequence[tuple[Task, int]], journal: CallJournal, seen: set[str]
) -> list[dict[str, Any]]:
    """Return one row a statement: the task, the text, and the texts of its solutions, none for a reject or a copy."""
    asked = [statement_request(teacher.identity, task, sample) for task, sample in samples]
    texts = _answers(teacher, asked, journal)
    solutions: list[list[Request]] = []
    for (task, _), request in zip(samples, asked, strict=True):
        statement = _new_statement(texts.get(request.key), task, seen)
        numbers = range(plan.num_solutions if statement else 0)
        solutions.append([solution_request(teacher.identity, statement, number) for number in numbers])
    found = _answers(teacher, [request for group in solutions for request in group], journal)
    return [
        asdict(task) | {
            "key": request.key,
            "start": task.start,
            "statement": texts.get(request.key),
            "solutions": [found[solution.key] for solution in group if solution.key in found],
        }
        for (task, _), request, group in zip(samples, asked, solutions, strict=True)
    ]  # fmt: skip


def _new_statement(text: str | None, task: Task, seen: set[str]) -> str:
    """Return a statement to solve; empty for a reject or one that was seen."""
    try:
        statement = parse_statement(text or "", task.start).text
    except RejectedError:
        return ""
    if statement in seen:
        return ""
    seen.add(statement)
    return statement


def _answers(teacher: Teacher, requests: Sequence[Request], journal: CallJournal) -> dict[str, str]:
    """Return the answers by key; only those are asked for that have neither answer nor refusal."""
    keys = [request.key for request in requests]
    done = {key for kind in (ANSWERED, REFUSED) for key, _ in journal.store.get(kind, keys)}
    waiting = [request for request in requests if request.key not in done]
    if waiting:
        teacher.answer(waiting, journal)
    return {str(key): json.loads(value)["content"] for key, value in journal.store.get(ANSWERED, keys)}


def _write_part(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    content = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), 6, mtime=0)
    if len(content) <= MAX_FILE_BYTES or len(rows) == 1:
        write_atomically(folder / f"{GENERATED}-{name}.jsonl.gz", content)
        return
    half = len(rows) // 2
    _write_part(folder, f"{name}-0", rows[:half])
    _write_part(folder, f"{name}-1", rows[half:])


def read_parts(folder: Path) -> Iterable[dict[str, Any]]:
    """Yield the rows of all parts in a folder, in order."""
    for path in sorted(folder.glob(f"{GENERATED}-*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _summary(teacher: Teacher, plan: Plan, journal: CallJournal, num_statements: int) -> dict[str, Any]:
    """Return the costs of all runs into this journal."""
    replies, seconds = journal.all_replies(), sum(float(value) for _, value in journal.store.all(_SECONDS))
    output_tokens = sum(reply.output_tokens or 0 for reply in replies)
    return {
        "teacher": teacher.identity,
        "seed": plan.seed,
        "num_statements": min(num_statements, plan.count),
        "num_answers": len(replies),
        "num_requests": max(journal.store.count(SENT), len(replies)),
        "num_failed": journal.store.count(FAILED),
        "num_refused": journal.store.count(REFUSED),
        "input_tokens": sum(reply.input_tokens or 0 for reply in replies),
        "output_tokens": output_tokens,
        "seconds": round(seconds, 1),
        "output_tokens_per_minute": round(60 * output_tokens / seconds) if seconds else None,
    }
