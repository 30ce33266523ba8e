"""What a program needs of the host is visible also where it lies below /tmp, over which each program has its own."""

import shutil

import pytest

from codeft_eval.sandbox.isolation.levels import LEVELS
from codeft_eval.sandbox.isolation.namespaces import SCRATCH
from codeft_eval.sandbox.native.provider import check_language
from codeft_eval.sandbox.native.tools import _own_prefix
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Program
from codeft_eval.sandbox.python.provider import check_level
from tests.eval.toolchains import needs


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages below /tmp: a library, of which one module is imported late, and an answer."""
    assert str(tmp_path).startswith(f"{SCRATCH}/"), f"run pytest with a --basetemp below {SCRATCH}"
    site = tmp_path / "environment" / "site-packages"
    (site / "tiny").mkdir(parents=True)
    (site / "tiny" / "__init__.py").write_text("")
    (site / "tiny" / "late.py").write_text("VALUE = 7\n")
    (site / "answers.py").write_text("")
    metadata = site / "tiny-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (metadata / "RECORD").write_text("tiny/__init__.py,,\ntiny/late.py,,\n")
    monkeypatch.syspath_prepend(site)
    return site


_SOURCE = """
import os

def opens(path, mode):
    try:
        return bool(open(path, mode))
    except OSError:
        return False

def f(site):
    from tiny import late
    paths = [os.path.join(site, name) for name in ("tiny/planted", "answers.py")]
    return [late.VALUE, opens(paths[0], "w"), opens(paths[1], "r"), opens("own", "w")]
"""


@pytest.mark.parametrize("level", LEVELS)
def test_a_library_below_the_scratch_is_imported_late_and_read_only(site, level):
    if check_level(level) != "works":
        pytest.skip(check_level(level))
    has_scratch = level == "namespaces"
    test = f"assert f({str(site)!r}) == [7, False, False, {has_scratch}]"
    program = Program(key="x", source=_SOURCE, entry_point="f", test=test)
    with Sandbox(level=level, num_workers=1, libraries=("tiny",)) as sandbox:
        grades = sandbox.run([program, program])
    assert [grade.verdict for grade in grades] == ["passed", "passed"], grades


def test_a_toolchain_below_the_scratch_runs(tmp_path, monkeypatch):
    needs("javascript")
    (tmp_path / "node" / "bin").mkdir(parents=True)
    tool = tmp_path / "node" / "bin" / "node"
    tool.write_text(f'#!/bin/sh\nexec {shutil.which("node")} "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    assert check_language.__wrapped__("javascript") == "works"


def test_of_a_tool_its_own_packages_are_visible_and_never_all_of_tmp():
    assert _own_prefix("/tmp/go/bin/go") == "/tmp/go"
    assert _own_prefix("/tmp/node_modules/typescript/bin/tsc") == "/tmp/node_modules"
    assert _own_prefix("/tmp/bin/go") == _own_prefix("/tmp/go") == ""


def test_libraries_may_lie_in_several_folders(site):
    source = "def f():\n    import tiny.late\n    from numpy import polynomial\n    return tiny.late.VALUE"
    program = Program(key="x", source=source, entry_point="f", test="assert f() == 7")
    for libraries in (("tiny", "numpy"), ("numpy", "tiny")):
        with Sandbox(num_workers=1, libraries=libraries) as sandbox:
            [grade] = sandbox.run([program])
        assert grade.verdict == "passed", grade
