"""What the model answered, written down as it is generated, so that a killed run asks for nothing twice."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

Key = tuple[str, str, int]
"""(kind, task id, number of the sample): kind is "completion" or "log_likelihood"."""


class GenerationStore:
    """An append-only file of answers of one model under one protocol.

    Its name contains a hash of the identity, so answers of another checkpoint, prompt or batch size are never found.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"generations-{digest}.jsonl"
        self._answers: dict[Key, Any] = {}
        self._keys: dict[str, set[tuple[str, int]]] = {}
        self._remember(self._read())

    def get(self, key: Key) -> Any:
        """The stored answer, or None."""
        return self._answers.get(key)

    def keys(self, kind: str) -> Set[tuple[str, int]]:
        """(task id, number of the sample) of the stored answers of one kind."""
        return self._keys.setdefault(kind, set())

    def __contains__(self, key: Key) -> bool:
        return key in self._answers

    def add(self, answers: Iterable[tuple[Key, Any]]) -> None:
        """Stores a batch of answers; they are on disk when this returns."""
        batch = list(answers)
        lines = "".join(
            json.dumps({"kind": kind, "task_id": task_id, "sample": sample, "answer": answer}) + "\n"
            for (kind, task_id, sample), answer in batch
        )
        with self.path.open("a", encoding="utf-8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        self._remember(dict(batch))

    def _remember(self, answers: Mapping[Key, Any]) -> None:
        self._answers |= answers
        for kind, task_id, sample in answers:
            self._keys.setdefault(kind, set()).add((task_id, sample))

    def _read(self) -> dict[Key, Any]:
        if not self.path.exists():
            return {}
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # a kill in the middle of a line
            os.truncate(self.path, len(whole))
        rows = [json.loads(line) for line in whole.splitlines()]
        return {(row["kind"], row["task_id"], row["sample"]): row["answer"] for row in rows}
