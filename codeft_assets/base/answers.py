"""Answers of models on disk: none is paid for twice.

Invariant: an answer is on the disk when ``put`` returns, so a killed run repeats at most the calls in flight. Several
processes may read and write one store at a time.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from codeft_assets.base.files import explain_write_errors

_WAIT_SECONDS = 60
"""For another process to finish its batch."""
_NOT_A_STORE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)
"""Of the file's content; the last: it has other tables. All other codes are of the disk, rights and locks."""
_PRIMARY_CODE = 0xFF
"""The bits of an error code without its details."""
_KEYS_A_QUERY = 500
"""SQLite takes at most 999 parameters where it is an old one."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_by_key ON answers (kind, key);
"""
_ABSORB = """
INSERT INTO answers (kind, key, value) SELECT kind, key, value FROM other.answers AS theirs WHERE NOT EXISTS (
    SELECT 1 FROM main.answers AS ours
    WHERE ours.kind = theirs.kind AND ours.key = theirs.key AND ours.value = theirs.value
) ORDER BY number;
"""


class AnswerStore:
    """An append-only SQLite file of ``(kind, key) -> values``, oldest first; use it as a context.

    ``kind`` names what happened (``"answer"``, ``"refusal"``, ``"completion"``); keys and values are bytes or text, and
    come back as they were put.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> AnswerStore:
        """Open the file, made where there is none.

        Raises:
            ValueError: the file is no answer store.
            OSError: it cannot be opened or written: read-only, held by another process, or the disk is full.
        """
        with explain_write_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()  # an empty file is an empty store; one that is there is never removed after an error
        with explain_write_errors(self.path, also=(sqlite3.OperationalError,)):
            connection = sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)
            try:
                _use_wal(connection)
                connection.execute("PRAGMA synchronous = FULL")  # committed means on the disk, also after a power cut
                connection.executescript(_SCHEMA)
            except sqlite3.DatabaseError as error:
                connection.close()
                if error.sqlite_errorcode & _PRIMARY_CODE not in _NOT_A_STORE:
                    raise
                raise ValueError(
                    f"{self.path} is not an answer store: {error}; move it away, its answers are computed again"
                ) from error
        self._connection = connection
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    @property
    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None, "the store is open"
        return self._connection

    def put(self, kind: str, answers: Iterable[tuple[bytes | str, bytes | str]]) -> None:
        """Append a batch of ``(key, value)``, all of it or none; it is on the disk on return.

        Raises:
            OSError: it cannot be written; earlier answers are kept.
        """
        rows = ((kind, key, value) for key, value in answers)
        with explain_write_errors(self.path, also=(sqlite3.OperationalError,)):
            self._open.execute("BEGIN IMMEDIATE")
            try:
                self._open.executemany("INSERT INTO answers (kind, key, value) VALUES (?, ?, ?)", rows)
                self._open.execute("COMMIT")
            except BaseException:
                if self._open.in_transaction:  # SQLite itself rolls back when the disk is full
                    self._open.execute("ROLLBACK")
                raise

    def get(self, kind: str, keys: Sequence[bytes | str]) -> Iterator[tuple[bytes | str, bytes | str]]:
        """Yield ``(key, value)`` of those ``keys`` that have answers, oldest first within a key."""
        for start in range(0, len(keys), _KEYS_A_QUERY):
            part = keys[start : start + _KEYS_A_QUERY]
            marks = ", ".join("?" * len(part))
            query = f"SELECT key, value FROM answers WHERE kind = ? AND key IN ({marks}) ORDER BY number"  # noqa: S608  question marks only
            yield from self._open.execute(query, (kind, *part))

    def all(self, kind: str) -> Iterator[tuple[bytes | str, bytes | str]]:
        """Yield every ``(key, value)`` of a kind, oldest first."""
        yield from self._open.execute("SELECT key, value FROM answers WHERE kind = ? ORDER BY number", (kind,))

    def absorb(self, path: Path) -> None:
        """Append the answers of the store at ``path`` that this one lacks; nothing where there is no such file.

        Raises:
            ValueError: the file is no answer store.
            OSError: it cannot be read, or this one not be written.
        """
        if not path.is_file():
            return
        with AnswerStore(path), explain_write_errors(self.path, also=(sqlite3.OperationalError,)):
            self._open.execute("ATTACH DATABASE ? AS other", (str(path),))
            try:
                self._open.execute(_ABSORB)
            finally:
                self._open.execute("DETACH DATABASE other")

    def count(self, kind: str) -> int:
        """Return the number of answers of a kind."""
        return self._open.execute("SELECT count(*) FROM answers WHERE kind = ?", (kind,)).fetchone()[0]


def _use_wal(connection: sqlite3.Connection) -> None:
    """Let readers not wait for the writer; where two processes open a new file at once, SQLite itself does not wait."""
    last_try = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() > last_try:
                raise
        time.sleep(0.01)
