"""The installed tools of a language: their places, their versions, and the folders that a program may see."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from codeft_eval.sandbox.isolation.levels import DEVICES
from codeft_eval.sandbox.isolation.namespaces import SCRATCH, Root
from codeft_eval.sandbox.native.toolchain import Toolchain
from codeft_eval.sandbox.native.toolchains import TOOLCHAINS

_DEVICES = (*DEVICES, "/dev/random", "/dev/full")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/java-*-openjdk")


def missing_tools(language: str) -> list[str]:
    """Return the tools of the language that are not installed."""
    return [tool for tool in TOOLCHAINS[language].tools if shutil.which(tool) is None]


def command_lines(toolchain: Toolchain, steps: tuple[tuple[str, ...], ...]) -> list[list[str]]:
    """Return the steps with the tools' absolute paths."""
    places = {f"{{{tool}}}": _executable(tool) for tool in toolchain.tools}
    return [[places.get(part, part) for part in step] for step in steps]


@cache
def tool_versions(language: str) -> dict[str, str]:
    """Return the first line that each installed tool of a language prints as its version."""
    toolchain = TOOLCHAINS[language]
    tools = [tool for tool in (*toolchain.tools, *toolchain.programs) if shutil.which(tool)]
    return {tool: _version(tool, toolchain.version_arguments.get(tool, ("--version",))) for tool in tools}


def _version(tool: str, arguments: tuple[str, ...]) -> str:
    done = subprocess.run([_executable(tool), *arguments], capture_output=True, text=True, timeout=60, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else f"no version; it ended with status {done.returncode}"


def build_root(toolchain: Toolchain) -> Root:
    """Return the visible part of the host: the system's programs and the tools' own folders, no home, no project."""
    system = [path for pattern in _SYSTEM_FILES for path in sorted(glob.glob(pattern))]
    prefixes = {prefix for tool in toolchain.tools if (prefix := _own_prefix(_executable(tool)))}
    tops = [f"/{name}" for name in ("bin", "sbin", "lib", "lib32", "lib64") if os.path.exists(f"/{name}")]
    folders = ["/usr", *toolchain.folders, *_sysroots(toolchain), *sorted(prefixes)]
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


def _executable(tool: str) -> str:
    if tool == "rustc":
        return f"{_rust_sysroot()}/bin/rustc"
    found = shutil.which(tool)
    if found is None:
        raise ValueError(f"{tool!r} is not installed; install it, or leave its language out")
    return os.path.realpath(found) if tool in ("node", "tsc", "go", "java", "javac") else found


def _own_prefix(executable: str) -> str:
    """Return the folder of a tool outside /usr, as of /opt/node/bin/node; never a home, a whole disk or all of /tmp.

    Of npm's packages it is the folder of all, since TypeScript 7 runs a program that lies in another package.
    """
    path = Path(executable)
    packages = next((parent for parent in path.parents if parent.name == "node_modules"), None)
    prefix = packages or (path.parents[1] if path.parent.name == "bin" and len(path.parents) > 2 else path.parent)
    is_private = prefix in (Path.home(), *Path.home().parents, Path(SCRATCH))
    return "" if executable.startswith(("/usr/", "/bin/")) or is_private else str(prefix)


def _sysroots(toolchain: Toolchain) -> list[str]:
    """Return the sysroot of Rust: the ``rustc`` of rustup is a proxy, and the compiler lies there."""
    return [_rust_sysroot()] if "rustc" in toolchain.tools else []


@cache
def _rust_sysroot() -> str:
    done = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()
