"""TOOLCHAINS, the one place to add a language: how a program is compiled and run, and proof that grading works.

A test prints a nonce from its last line, because an exit status of 0 proves nothing: in all ten languages that were
tried a program that exits early looked like one that passed. The three canaries of a language run before it is used.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from codeft_eval.sandbox.isolation.levels import DEVICES
from codeft_eval.sandbox.isolation.namespaces import SCRATCH, Root
from codeft_eval.sandbox.native.java_tuples import java_tuples
from codeft_eval.sandbox.programs import Limits, Program

NONCE = "@NONCE@"
"""Printed by the last line of a test; replaced by a secret when the program runs."""
_DEVICES = (*DEVICES, "/dev/random", "/dev/full")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/java-*-openjdk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """Three programs and one test; a sandbox that grades one of them wrongly is not used."""

    right: str
    wrong: str
    early_exit: str
    test: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """Tools and command lines for the programs of one language."""

    language: str
    title: str
    file_name: str
    tools: tuple[str, ...]
    """Executables that must be installed; steps name them as ``{tool}``."""
    steps: tuple[tuple[str, ...], ...]
    """Command lines; all must end with status 0, and the last one prints the nonce."""
    environment: dict[str, str] = field(default_factory=dict)
    support: Callable[[], dict[str, str]] = dict
    """Our own files beside the program: path -> text."""
    more_folders: Callable[[], tuple[str, ...]] = tuple
    """Host folders that the tools need besides /usr."""
    canaries: Canaries


_SCRIPT_CANARIES = Canaries(
    right="function add(a, b) {\n  return a + b;\n}\n",
    wrong="function add(a, b) {\n  return a - b;\n}\n",
    early_exit="process.exit(0);\nfunction add(a, b) {\n  return a + b;\n}\n",
    test=f"const assert = require('node:assert');\nassert.deepEqual(add(2, 3), 5);\nconsole.log('{NONCE}');\n",
)
_CPP_HEAD = "#include <assert.h>\n#include <cstdio>\n#include <cstdlib>\n"
_TYPED = "function add(a: number, b: number): number {\n  return a + b;\n}\n"


def _rust_folders() -> tuple[str, ...]:
    """Return the sysroot: the ``rustc`` of rustup is a proxy, and the compiler lies there."""
    return (_rust_sysroot(),) if shutil.which("rustc") else ()


@cache
def _rust_sysroot() -> str:
    done = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


_ENTRIES = (
    Toolchain(
        language="javascript",
        title="JavaScript",
        file_name="program.js",
        tools=("node",),
        steps=(("{node}", "program.js"),),
        canaries=_SCRIPT_CANARIES,
    ),
    Toolchain(
        language="typescript",
        title="TypeScript",
        file_name="program.ts",
        tools=("node", "tsc"),
        steps=(
            ("{node}", "{tsc}", "--target", "esnext", "--module", "commonjs", "--skipLibCheck", "program.ts"),
            ("{node}", "program.js"),
        ),
        canaries=Canaries(
            right=_TYPED,
            wrong=_TYPED.replace("a + b", "a - b"),
            early_exit="declare var process: any;\nprocess.exit(0);\n" + _TYPED,
            test="declare var require: any;\n" + _SCRIPT_CANARIES.test,
        ),
    ),
    Toolchain(
        language="cpp",
        title="C++",
        file_name="program.cpp",
        tools=("g++",),
        steps=(("{g++}", "-std=c++17", "-O1", "-o", "program", "program.cpp"), ("./program",)),
        canaries=Canaries(
            right=_CPP_HEAD + "long add(long a, long b) { return a + b; }\n",
            wrong=_CPP_HEAD + "long add(long a, long b) { return a - b; }\n",
            early_exit=_CPP_HEAD + "long add(long a, long b) { exit(0); }\n",
            test=f'int main() {{\n  assert(add(2, 3) == 5);\n  puts("{NONCE}");\n}}\n',
        ),
    ),
    Toolchain(
        language="java",
        title="Java",
        file_name="Problem.java",
        tools=("java", "javac"),
        steps=(
            ("{javac}", "-J-Xshare:auto", "-J-XX:TieredStopAtLevel=1", "-J-Xmx512m", "-nowarn", "Problem.java"),
            ("{java}", "-ea", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Xmx512m", "-Xss8m", "-cp", ".", "Problem"),
        ),
        support=java_tuples,
        canaries=Canaries(
            right="class Problem {\n  static long add(long a, long b) { return a + b; }\n",
            wrong="class Problem {\n  static long add(long a, long b) { return a - b; }\n",
            early_exit="class Problem {\n  static long add(long a, long b) { System.exit(0); return 5; }\n",
            test="  public static void main(String[] args) {\n    assert(add(2, 3) == 5);\n"
            f'    System.out.println("{NONCE}");\n  }}\n}}\n',
        ),
    ),
    Toolchain(
        language="go",
        title="Go",
        file_name="program_test.go",
        tools=("go",),
        steps=(
            ("{go}", "test", "-vet=off", "-c", "-o", "program", "program_test.go"),
            ("./program", "-test.timeout=0"),
        ),
        environment={
            "GO111MODULE": "off",
            "GOCACHE": f"{SCRATCH}/.cache",
            "GOPATH": f"{SCRATCH}/go",
            "GOFLAGS": "-p=1",
        },
        canaries=Canaries(
            right='package add_test\nimport ("fmt"; "testing")\nfunc add(a int, b int) int { return a + b }\n',
            wrong='package add_test\nimport ("fmt"; "testing")\nfunc add(a int, b int) int { return a - b }\n',
            early_exit='package add_test\nimport ("fmt"; "os"; "testing")\n'
            "func add(a int, b int) int { os.Exit(0); return 5 }\n",
            test='func TestAdd(t *testing.T) {\n  if add(2, 3) != 5 {\n    t.Errorf("wrong")\n  }\n'
            f'  if !t.Failed() {{\n    fmt.Println("{NONCE}")\n  }}\n}}\n',
        ),
    ),
    Toolchain(
        language="rust",
        title="Rust",
        file_name="program.rs",
        tools=("rustc", "cc"),
        steps=(("{rustc}", "--edition=2021", "-A", "warnings", "-o", "program", "program.rs"), ("./program",)),
        more_folders=_rust_folders,
        canaries=Canaries(
            right="fn add(a: isize, b: isize) -> isize {\n    a + b\n}\n",
            wrong="fn add(a: isize, b: isize) -> isize {\n    a - b\n}\n",
            early_exit="fn add(_a: isize, _b: isize) -> isize {\n    std::process::exit(0)\n}\n",
            test=f'fn main() {{\n    assert_eq!(add(2, 3), 5);\n    println!("{NONCE}");\n}}\n',
        ),
    ),
    Toolchain(
        language="shell",
        title="Shell",
        file_name="program.sh",
        tools=("bash",),
        steps=(("{bash}", "program.sh"),),
        canaries=Canaries(
            right="add() {\n  echo $(($1 + $2))\n}\n",
            wrong="add() {\n  echo $(($1 - $2))\n}\n",
            early_exit="exit 0\nadd() {\n  echo $(($1 + $2))\n}\n",
            test=f"set -e\n[[ $(add 2 3) = 5 ]]\nprintf '%s\\n' '{NONCE}'\n",
        ),
    ),
)
TOOLCHAINS: dict[str, Toolchain] = {entry.language: entry for entry in _ENTRIES}
COMPILING = Limits(cpu_seconds=60, wall_seconds=120.0, memory_bytes=2 << 30)
"""Limits of a compiler; those that a user sets are for the program it makes."""


def missing_tools(language: str) -> list[str]:
    """Return the tools of the language that are not installed."""
    return [tool for tool in TOOLCHAINS[language].tools if shutil.which(tool) is None]


def command_lines(toolchain: Toolchain) -> list[list[str]]:
    """Return the steps with the tools' absolute paths."""
    places = {f"{{{tool}}}": _executable(tool) for tool in toolchain.tools}
    return [[places.get(part, part) for part in step] for step in toolchain.steps]


def build_root(toolchain: Toolchain) -> Root:
    """Return the visible part of the host: the system's programs and the tools' own folders, no home, no project."""
    system = [path for pattern in _SYSTEM_FILES for path in sorted(glob.glob(pattern))]
    prefixes = {prefix for tool in toolchain.tools if (prefix := _own_prefix(_executable(tool)))}
    tops = [f"/{name}" for name in ("bin", "sbin", "lib", "lib32", "lib64") if os.path.exists(f"/{name}")]
    folders = ["/usr", *toolchain.more_folders(), *sorted(prefixes)]
    folders += [path for path in [*system, *tops] if os.path.isdir(path) and not os.path.islink(path)]
    return Root(
        folders=tuple(dict.fromkeys(folders)),
        files=(*(path for path in system if os.path.isfile(path)), *filter(os.path.exists, _DEVICES)),
        needs_processes=True,
        links=(
            *((path, os.readlink(path)) for path in tops if os.path.islink(path)),
            *(("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0")),
        ),
    )


def canary_programs(language: str) -> dict[str, Program]:
    """Return the three canaries, by name."""
    canaries = TOOLCHAINS[language].canaries
    sources = {"right": canaries.right, "wrong": canaries.wrong, "early_exit": canaries.early_exit}
    return {
        name: Program(key=name, source=source, entry_point="add", test=canaries.test, language=language)
        for name, source in sources.items()
    }


def _executable(tool: str) -> str:
    if tool == "rustc":
        return f"{_rust_sysroot()}/bin/rustc"
    found = shutil.which(tool)
    if found is None:
        raise ValueError(f"{tool!r} is not installed; install it, or leave its language out")
    return os.path.realpath(found) if tool in ("node", "tsc", "go", "java", "javac") else found


def _own_prefix(executable: str) -> str:
    """Return the folder of a tool outside /usr, as of /opt/node/bin/node; never a home or a whole disk."""
    path = Path(executable)
    prefix = path.parents[1] if path.parent.name == "bin" and len(path.parents) > 2 else path.parent
    is_private = prefix in (Path.home(), *Path.home().parents)
    return "" if executable.startswith(("/usr/", "/bin/", "/tmp/")) or is_private else str(prefix)  # noqa: S108  only compared
