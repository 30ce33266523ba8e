"""The second half, where the sandbox is: verdicts on all parts, and the exercises that passed.

Each core has a process with a sandbox of its own. Verdicts are on the disk as they come, so that a killed run goes on
where it was; exercises and rejects are written from them once a minute, and when the run ends or is interrupted.
"""

from __future__ import annotations

import gzip
import itertools
import json
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any

from codeft_assets.base.answers import AnswerStore
from codeft_assets.base.files import replacing_file, write_atomically
from codeft_assets.base.processes import die_with_parent
from codeft_assets.teachers.generate import SUMMARY, read_parts
from codeft_assets.teachers.verdicts import LIMITS, Row, Verdict, verdict_of
from codeft_eval.sandbox.pool import Sandbox

EXERCISES, REJECTS, YIELD, VERDICTS = "exercises.jsonl.gz", "rejects.jsonl.gz", "yield.json", "verdicts.sqlite"
JUDGE_VERSION = "2"
"""Counts up when the same texts get another verdict, so that stored ones are made again."""
_VERDICT = f"verdict {JUDGE_VERSION}"
_ROWS_AT_A_TIME = 256
_ROWS_A_TASK = 16
_WRITE_SECONDS = 60.0
_PASSES = 2
"""Rows without a verdict are tried again when all others have theirs; a later run tries them, too."""
_log = logging.getLogger(__name__)


def judge(folder: Path, parts: Sequence[Path] = ()) -> dict[str, Any]:
    """Write ``exercises.jsonl.gz`` and ``rejects.jsonl.gz`` beside the parts; return the yield, which is written too.

    Verdicts in the folders ``parts``, of runs of some of the rows, are used.

    Raises:
        SandboxError: no isolation works here.
        ValueError: there are no parts.
    """
    begin = written = time.monotonic()
    total = sum(1 for _ in _distinct(folder))
    if not total:
        raise ValueError(f"{folder} holds no generated-*.jsonl.gz; generate first")
    with AnswerStore(folder / VERDICTS) as store, _processes() as pool:
        for part in parts:
            store.absorb(part / VERDICTS)
        try:
            for _ in range(_PASSES):
                for found in _in_processes(pool, _tasks(folder, store)):
                    store.put(_VERDICT, [(key, json.dumps(verdict)) for key, verdict in found])
                    if time.monotonic() - written > _WRITE_SECONDS:
                        _write_yield(folder, store, total, time.monotonic() - begin)
                        written = time.monotonic()
        finally:
            report = _write_yield(folder, store, total, time.monotonic() - begin)
    return report


def _tasks(folder: Path, store: AnswerStore) -> Iterator[list[Row]]:
    """Yield the rows without a verdict, some at a time."""
    for rows in _batches(folder):
        known = {key for key, _ in store.get(_VERDICT, [row["key"] for row in rows])}
        waiting = [row for row in rows if row["key"] not in known]
        for start in range(0, len(waiting), _ROWS_A_TASK):
            yield waiting[start : start + _ROWS_A_TASK]


def _batches(folder: Path) -> Iterator[list[Row]]:
    rows = _distinct(folder)
    while batch := list(itertools.islice(rows, _ROWS_AT_A_TIME)):
        yield batch


def _distinct(folder: Path) -> Iterator[Row]:
    """Yield each row once, also where two parts hold it."""
    seen: set[str] = set()
    for row in read_parts(folder):
        if row["key"] not in seen:
            seen.add(row["key"])
            yield row


_sandbox: Sandbox
"""Of a process of the pool."""


@contextmanager
def _processes() -> Iterator[ProcessPoolExecutor]:
    """Yield a process for each core; an interrupt of the caller waits for no more than their tasks of the moment."""
    with Sandbox(limits=LIMITS, num_workers=1) as sandbox:
        level = sandbox.isolation.level
    cores = len(os.sched_getaffinity(0))
    pool = ProcessPoolExecutor(cores, get_context("spawn"), initializer=_open_sandbox, initargs=(level, os.getpid()))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _open_sandbox(level: str, parent_id: int) -> None:
    global _sandbox
    die_with_parent(parent_id)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, which is the parent's to answer
    _sandbox = Sandbox(limits=LIMITS, level=level, num_workers=1)


def _judge_task(rows: Sequence[Row]) -> list[tuple[str, Verdict]]:
    found = [(row["key"], verdict_of(row, _sandbox)) for row in rows]
    return [(key, verdict) for key, verdict in found if verdict]


def _in_processes(pool: ProcessPoolExecutor, tasks: Iterator[list[Row]]) -> Iterator[list[tuple[str, Verdict]]]:
    """Yield results as they come; few tasks wait at a time, however many there are."""
    running: set[Future[list[tuple[str, Verdict]]]] = set()
    for task in tasks:
        running.add(pool.submit(_judge_task, task))
        if len(running) > 2 * len(os.sched_getaffinity(0)):
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    yield from (future.result() for future in running)


def _write_yield(folder: Path, store: AnswerStore, total: int, seconds: float) -> dict[str, Any]:
    """Write the results of the verdicts there are and return their counts, which are written too."""
    reasons = _write_results(folder, store)
    costs = json.loads((folder / SUMMARY).read_text(encoding="utf-8")) if (folder / SUMMARY).is_file() else {}
    passed = {reason: reasons.pop(reason) for reason in ("teacher", "computed") if reason in reasons}
    judged = sum(reasons.values()) + sum(passed.values())
    report = {
        "made": total,
        "not_judged": total - judged,
        "passed": sum(passed.values()),
        "passed_by_examples": passed,
        "rejected": dict(reasons.most_common()),
        "judge_seconds": round(seconds, 1),
        "generation": costs,
    }
    write_atomically(folder / YIELD, json.dumps(report, indent=1) + "\n")
    _log.info("judged %d of %d in %.0f s: %d passed", judged, total, seconds, report["passed"])
    return report


def _write_results(folder: Path, store: AnswerStore) -> Counter[str]:
    """Write kept exercises and rejects in the order of the parts; return their counts by examples or reason."""
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        exercises, rejects = (stack.enter_context(_replacing_lines(folder / name)) for name in (EXERCISES, REJECTS))
        for row, verdict in _final_verdicts(folder, store):
            counts[verdict.get("reason") or verdict["examples"]] += 1
            facts = {name: row[name] for name in ("key", "topic", "subject", "level", "style")} | verdict
            if "text" in verdict:
                exercises.write(json.dumps(facts | {"language": "python"}) + "\n")
            else:
                rejects.write(json.dumps(facts | {"statement": row["statement"]}) + "\n")
    return counts


def _final_verdicts(folder: Path, store: AnswerStore) -> Iterator[tuple[Row, Verdict]]:
    """Yield rows that have a verdict; a text that was kept before is a duplicate."""
    seen: set[str] = set()
    for rows in _batches(folder):
        verdicts = dict(store.get(_VERDICT, [row["key"] for row in rows]))
        for row in rows:
            if row["key"] not in verdicts:
                continue
            verdict = json.loads(verdicts[row["key"]])
            if verdict.get("text") in seen:
                verdict = {"reason": "duplicate", "detail": "the same exercise was kept before"}
            elif "text" in verdict:
                seen.add(verdict["text"])
            yield row, verdict


@contextmanager
def _replacing_lines(path: Path) -> Iterator[IO[str]]:
    with replacing_file(path) as temporary, gzip.open(temporary, "wt", encoding="utf-8") as lines:
        yield lines
