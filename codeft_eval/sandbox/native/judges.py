"""Keeps the built judges of the latest tests, since one judge serves every completion of its prompt."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from codeft_eval.sandbox.programs import Program

_NUM_KEPT = 32


@dataclass(slots=True, kw_only=True)
class Judge:
    """A judge's secret, and the files of its build; none yet, where it must be built from source."""

    nonce: str
    files: dict[str, str] = field(default_factory=dict)
    """Path -> base64."""


class BuiltJudges:
    """The judges of one language, shared by all its workers."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Judge] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, program: Program) -> Judge:
        """Return the judge of the program's tests, or a new one without files."""
        with self._lock:
            found = self._kept.get((program.prelude, program.test))
        return found or Judge(nonce=secrets.token_hex(16))

    def keep(self, program: Program, judge: Judge) -> None:
        """Keep a judge that was built, in place of the oldest."""
        if not judge.files:
            return
        with self._lock:
            self._kept[program.prelude, program.test] = judge
            self._kept.move_to_end((program.prelude, program.test))
            while len(self._kept) > _NUM_KEPT:
                self._kept.popitem(last=False)
