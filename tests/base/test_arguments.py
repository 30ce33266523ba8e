"""Command lines: an error is one line with what was meant, and inputs that do not exist are refused before any work."""

import pytest

from codeft_assets.base.arguments import Parser, existing_file, existing_folder, existing_path, near_name
from codeft_eval.__main__ import _parser as evaluation
from codeft_eval.__main__ import main as evaluation_main
from codeft_training.__main__ import _parser as training
from codeft_training.__main__ import main as training_main

BENCHMARK = ["--benchmark", "embedded"]
COMMANDS = [
    (evaluation, ["run", *BENCHMARK], "--checkpoint"),
    (evaluation, ["run", *BENCHMARK, "--checkpoint", "."], "--parts"),
    (evaluation, ["replay", *BENCHMARK], "--generations"),
    (evaluation, ["solve"], "--runs"),
    (evaluation, ["solve"], "--checkpoint"),
    (evaluation, ["solve"], "--tokenizer"),
    (evaluation, ["pairs"], "--runs"),
    (evaluation, ["hold-out"], "--documents"),
    (evaluation, ["progress", *BENCHMARK, "--scores", "."], "--metrics"),
    (evaluation, ["progress", *BENCHMARK], "--scores"),
    (evaluation, ["scoreboard"], "--scores"),
    (evaluation, ["scoreboard", "--scores", "."], "--leaked"),
    (training, ["run"], "--corpus"),
    (training, ["pack", "--corpus", "."], "--tokenizer"),
    (training, ["train", "--tokenizer", "."], "--packed"),
    (training, ["train", "--tokenizer", ".", "--packed", "."], "--probe"),
    (training, ["prefer", "--base", "."], "--pairs"),
    (training, ["diffuse", "--base", "."], "--packed"),
    (training, ["fill"], "--checkpoint"),
    (training, ["fill", "--checkpoint", "."], "--prefix"),
    (training, ["export-model"], "--run-folder"),
    (training, ["export-corpus", "--corpus", "."], "--lineage"),
]


def error_of(parser, words):
    with pytest.raises(ValueError, match="--help$") as found:
        parser.parse_args(words)
    return str(found.value)


@pytest.mark.parametrize(("parser", "words", "option"), COMMANDS)
def test_what_does_not_exist_is_said_so_by_every_command(tmp_path, parser, words, option):
    line = error_of(parser(), [*words, option, str(tmp_path / "nope")])
    assert line.startswith(f"{option}: '{tmp_path}/nope' does not exist; ")
    assert line.endswith(f"{words[0]} --help")


def test_a_reference_that_does_not_exist_is_said_so(tmp_path):
    line = error_of(evaluation(), ["scoreboard", "--scores", ".", "--reference", f"a={tmp_path}/nope"])
    assert f"'{tmp_path}/nope' does not exist" in line


@pytest.mark.parametrize(
    ("kind", "fits", "other", "reason"),
    [
        (existing_folder, "folder", "file", "is no folder"),
        (existing_file, "file", "folder", "is no file"),
        (existing_path, "file", "absent", "does not exist"),
    ],
)
def test_what_exists_must_be_of_its_kind(tmp_path, kind, fits, other, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    parser = Parser(prog="p")
    parser.add_argument("--place", type=kind("make one"))
    assert parser.parse_args(["--place", str(tmp_path / fits)]).place == tmp_path / fits
    found = error_of(parser, ["--place", str(tmp_path / other)])
    assert found == f"--place: '{tmp_path / other}' {reason}; make one; see p --help"


@pytest.mark.parametrize("words", [["run"], ["replay"], ["check"], ["measure"], ["fetch"], ["progress"]])
def test_an_unknown_benchmark_is_one_line_with_the_near_name(words):
    assert error_of(evaluation(), [*words, "--benchmark", "humanevall"]) == (
        "--benchmark: there is no benchmark 'humanevall'; did you mean humaneval?; "
        f"see {evaluation().prog} {words[0]} --help"
    )


def test_benchmarks_are_listed_once_in_the_help(capsys):
    with pytest.raises(SystemExit):
        evaluation().parse_args(["run", "--help"])
    help_text = capsys.readouterr().out
    assert help_text.count("humanevalfix") == 1
    assert "--benchmark NAME" in help_text


def test_a_name_that_resembles_none_has_no_near_one():
    assert near_name("zzz", ["humaneval"]) == ""
    assert near_name("documents/my-cod", ["documents/my-code"]) == "; did you mean documents/my-code?"


@pytest.mark.parametrize("main", [evaluation_main, training_main])
def test_an_error_of_a_command_line_is_one_line(capsys, main):
    assert main(["nope"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "'nope'" in line
