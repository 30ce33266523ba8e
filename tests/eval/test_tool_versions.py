"""The versions of the tools that ran the programs stand in a score, and in a comparison of two that differ."""

import platform

import pytest

from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.sandbox.native.toolchains import TOOLCHAINS
from codeft_eval.sandbox.native.tools import missing_tools, tool_versions
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.scoreboard.summaries import make_scoreboard
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.runs import run_checkpoint
from codeft_eval.scoring.scores import read_measurement, read_score
from tests.eval.checkpoints import write_checkpoint
from tests.eval.score_folders import write_scores
from tests.eval.toolchains import needs

PYTHON = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
HERE = {"node": "v20.19.0", "bc": "bc 1.07.1"}


def test_a_score_has_the_version_of_python(tmp_path):
    run_checkpoint(write_checkpoint(tmp_path / "m"), BENCHMARKS["embedded"], tmp_path / "o", Options(limit=1))
    assert read_score(tmp_path / "o").tool_versions == PYTHON


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_each_tool_of_a_language_prints_its_version(language):
    if missing := missing_tools(language):
        pytest.skip(f"not installed: {missing}")
    versions = tool_versions(language)
    assert versions.keys() >= {*TOOLCHAINS[language].tools}
    assert {name: text for name, text in versions.items() if not any(map(str.isdigit, text))} == {}


def test_a_sandbox_has_the_versions_of_its_language():
    needs("shell")
    with Sandbox(language="shell", num_workers=1) as sandbox:
        assert sandbox.tool_versions == tool_versions("shell")


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (HERE | {"node": "v22.1.0"}, "; other tools ran the programs: node (v20.19.0 here, v22.1.0 there)"),
        ({"node": HERE["node"]}, "; other tools ran the programs: bc (bc 1.07.1 here, none there)"),
        (HERE, ""),
    ],
)
def test_a_comparison_names_the_tools_that_differ(tmp_path, there, words):
    ours = read_measurement(write_scores(tmp_path / "ours", range(20), tool_versions=HERE))
    theirs = read_measurement(write_scores(tmp_path / "theirs", range(30), model_hash="b" * 64, tool_versions=there))
    notes = {row.metric: row.note for row in make_scoreboard([ours], {"Qwen2.5-Coder-0.5B": [theirs]}).rows}
    assert notes["pass@1"].endswith(words)
    assert ("other tools" in notes["pass@1"]) == bool(words)
    assert "other tools" not in notes["bits_per_byte"]  # no tool runs for a likelihood
