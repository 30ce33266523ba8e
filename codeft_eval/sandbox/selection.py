"""Chooses the strongest jail that works here, by running a program in each, and says why the others do not."""

import functools
import logging
import sys

from codeft_eval.sandbox.isolation.worker_process import SandboxError
from codeft_eval.sandbox.native.client import BoxServer
from codeft_eval.sandbox.native.toolchains import canary_programs, missing_tools
from codeft_eval.sandbox.programs import Confinement, Limits, Program
from codeft_eval.sandbox.python.client import ForkServer

logger = logging.getLogger(__name__)

NAMESPACES, LANDLOCK, UNSAFE = "namespaces", "landlock", "unsafe"
TIERS = (NAMESPACES, LANDLOCK)
"""Strongest first."""

# Proves that the jail is one: no network, no host file, no other process, and an honest answer comes back.
_PROBE = """
import os

def _refused(action, *arguments):
    try:
        action(*arguments)
    except OSError:
        return True
    return False

def probe():
    import _socket
    no_network, no_files = _refused(_socket.socket), _refused(os.listdir, "/etc")
    return [no_network, no_files, _refused(os.kill, os.getppid(), 0), _refused(os.fork)]
"""
_TEST = "def check(candidate):\n    assert candidate() == [True, True, True, True], candidate()\n"


def choose_tier(wanted: str | None = None, *, allow_unsafe: bool = False) -> Confinement:
    """The tier to use: the wanted one, or the strongest that works.

    Raises:
        SandboxError: none works, or not the wanted one; the reasons are in the message.
    """
    reasons: dict[str, str] = {}
    for tier in (wanted,) if wanted else TIERS:
        if tier == UNSAFE:
            break
        reasons[tier] = probe_tier(tier)
        if reasons[tier] == "works":
            return Confinement(tier=tier, reasons=reasons)
    if not allow_unsafe:
        listed = "; ".join(f"{tier}: {reason}" for tier, reason in reasons.items()) or f"{wanted} was asked for"
        raise SandboxError(
            f"no jail for model-written programs on this machine ({listed}); use Linux 6.2 or newer with Landlock, or "
            "allow user namespaces, or accept the risk with allow_unsafe"
        )
    logger.warning("programs run UNCONFINED, as allow_unsafe says: %s", reasons)
    return Confinement(tier=UNSAFE, reasons=reasons)


_CANARIES = {"right": ("passed", "passed"), "wrong": ("failed", ""), "early_exit": ("failed", "exited")}


def choose_box(language: str, wanted: str | None = None) -> Confinement:
    """The tier in which programs of a compiled language run: only namespaces can hold a tree of processes.

    Raises:
        SandboxError: it does not work here, a tool is missing, or a canary was judged wrongly; the message says which.
    """
    reasons = {
        NAMESPACES: probe_box(language),
        LANDLOCK: "Landlock alone neither gives a private scratch folder nor ends daemons",
    }
    if wanted in (None, NAMESPACES) and reasons[NAMESPACES] == "works":
        return Confinement(tier=NAMESPACES, reasons=reasons)
    listed = "; ".join(f"{tier}: {reason}" for tier, reason in reasons.items())
    asked = f", {wanted} was asked for" if wanted else ""
    raise SandboxError(
        f"no jail for {language} programs on this machine ({listed}{asked}); install what is missing and allow user "
        "namespaces, or leave the benchmark out"
    )


@functools.cache
def probe_box(language: str) -> str:
    """'works', or why programs of the language cannot be judged: its three canaries run first."""
    if sys.platform != "linux":
        return f"{sys.platform} is not Linux"
    if missing := missing_tools(language):
        return f"not installed: {', '.join(missing)}"
    try:
        server = BoxServer(language)
    except SandboxError as error:
        return str(error)
    try:
        outcomes = {name: server.run(program, Limits()) for name, program in canary_programs(language).items()}
    except SandboxError as error:
        return str(error)
    finally:
        server.close()
    for name, (verdict, reason) in _CANARIES.items():
        found = outcomes[name]
        if found.verdict != verdict or reason not in ("", found.reason):
            return f"the {name} canary was judged {found.verdict}, {found.reason}: {found.stderr[-300:]}"
    return "works"


@functools.cache
def probe_tier(tier: str) -> str:
    """'works', or why the tier does not."""
    if sys.platform != "linux":
        return f"{sys.platform} is not Linux"
    program = Program(key="probe", source=_PROBE, entry_point="probe", test=_TEST)
    try:
        server = ForkServer(tier)
    except SandboxError as error:
        return str(error)
    try:
        outcome = server.run(program, Limits())
    except SandboxError as error:
        return str(error)
    finally:
        server.close()
    return "works" if outcome.verdict == "passed" else f"{outcome.reason}: {outcome.detail} {outcome.stderr[-300:]}"
