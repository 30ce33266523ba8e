"""The interface of providers, which isolate programs: by namespaces here, or in a container, or on another host.

A provider is registered per language in ``selection.PROVIDERS``. Its own failures are ``SandboxError``; a program's
failure is a ``Grade`` and never an exception.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from codeft_eval.sandbox.programs import Grade, Limits, Program


class SandboxError(Exception):
    """The sandbox itself failed; implies nothing about the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """The isolation level in use, and the result of checking each candidate level."""

    level: str
    reasons: dict[str, str] = field(default_factory=dict)
    """level -> ``works``, or why it does not."""


class Worker(Protocol):
    """A warm process that runs one program at a time, each isolated from the host and from the one before."""

    def run(self, program: Program, limits: Limits) -> Grade:
        """Return the program's grade.

        Raises:
            SandboxError: the worker is gone or silent; start another.
        """
        ...

    def close(self) -> None:
        """End the worker and everything it started."""
        ...


class Provider(Protocol):
    """Isolates the programs of one language on this machine."""

    def select_isolation(self, level: str | None, *, allow_unsafe: bool) -> Isolation:
        """Return ``level``, or the strongest level that works where it is None.

        Raises:
            SandboxError: no level works, or not the one requested; the message has the reasons.
        """
        ...

    def tool_versions(self) -> dict[str, str]:
        """Return the version that each compiler, interpreter or program prints, by its name."""
        ...

    def start_worker(self, isolation: Isolation) -> Worker:
        """Start a worker at the selected level.

        Raises:
            SandboxError: the worker does not start.
        """
        ...
