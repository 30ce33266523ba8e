"""``codeft``: settings of a project, the environment of its programs, and what a run prints."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest

from codeft_assets.command.__main__ import OWN, PROGRAMS
from codeft_assets.command.project import SETTINGS, ProjectError, create_project, find_project, project_environment
from codeft_assets.command.run_log import own_log, reason
from codeft_assets.command.typed import made, typed
from codeft_assets.defs import terminal
from codeft_assets.origins.errors import UnreachableUpstreamError
from codeft_assets.own_sources import read_sources
from tests import patience

ROOT = Path(__file__).parents[1]


def codeft(*arguments, folder, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CODEFT_", "DAGSTER_"))}
    return subprocess.run(
        [sys.executable, "-m", "codeft_assets.command", *arguments], cwd=folder,
        env=kept | {"PYTHONPATH": str(ROOT)} | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def settings(tmp_path, text, environment=()):
    (tmp_path / "codeft.toml").write_text(text)
    return project_environment(tmp_path / "codeft.toml", dict(environment), tmp_path)


# -- a project ---------------------------------------------------------------------------------------------------------


def test_without_a_project_the_data_root_is_in_the_current_folder_and_nothing_is_sent(tmp_path):
    found = project_environment(None, {}, tmp_path)
    assert found["CODEFT_HOME"] == str(tmp_path / ".codeft")
    assert found["DAGSTER_HOME"] == str(tmp_path / ".codeft" / "dagster")
    assert found["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_settings_are_variables_and_the_environment_wins(tmp_path):
    text = 'profile = "full"\nworkers = 2\nhome = "data"\noverrides = {max_steps = 300, bf16 = true}\n'
    found = settings(tmp_path, text, {"CODEFT_PROFILE": "sample"})
    assert "CODEFT_PROFILE" not in found
    assert found["CODEFT_WORKERS"] == "2"
    assert found["DAGSTER_HOME"] == str(tmp_path / "data" / "dagster")
    assert json.loads(found["CODEFT_RECIPE_OVERRIDES"]) == {"max_steps": "300", "bf16": "true"}


def test_a_relative_data_root_of_the_environment_is_made_absolute_for_dagster(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert project_environment(None, {"CODEFT_HOME": "x"}, tmp_path)["DAGSTER_HOME"] == str(tmp_path / "x/dagster")
    url = project_environment(None, {"CODEFT_HOME": "s3://bucket/x"}, tmp_path)
    assert url["DAGSTER_HOME"] == str(tmp_path / ".codeft/dagster")


@pytest.mark.parametrize(
    ("text", "said"), [("receipe = 'smoke'", "receipe"), ("= 1", "TOML"), ("overrides = 3", "{max_")]
)
def test_a_setting_that_means_nothing_is_refused_with_those_that_exist(tmp_path, text, said):
    with pytest.raises(ProjectError, match=said):
        settings(tmp_path, text)


def test_the_project_is_that_of_the_folder_or_of_one_above(tmp_path):
    create_project(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert find_project(tmp_path / "a" / "b") == tmp_path / "codeft.toml"


def test_new_files_say_nothing_until_edited_and_never_replace_what_is_there(tmp_path):
    (tmp_path / "codeft.toml").write_text("workers = 3\n")
    assert create_project(tmp_path) == [tmp_path / "sources.toml"]
    assert (tmp_path / "codeft.toml").read_text() == "workers = 3\n"
    assert read_sources(tmp_path / "sources.toml") == []
    lines = (tmp_path / "sources.toml").read_text().splitlines()
    assert tomllib.loads("\n".join(line.lstrip("# ") for line in lines if "=" in line))


def test_every_setting_is_read_somewhere():
    text = "".join(path.read_text() for name in ("assets", "eval") for path in (ROOT / f"codeft_{name}").rglob("*.py"))
    assert [variable for variable in SETTINGS.values() if text.count(f'"{variable}"') < 2] == []


# -- the commands ------------------------------------------------------------------------------------------------------


def test_the_wheel_has_the_command():
    [(name, target)] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].items()
    module, function = target.split(":")
    assert name == "codeft"
    assert callable(getattr(sys.modules[module], function))


def test_help_lists_every_command_and_an_unknown_one_is_an_error(tmp_path):
    listed = codeft("--help", folder=tmp_path).stdout
    assert all(f"\n  {name} " in listed for name in (*OWN, *PROGRAMS))
    done = codeft("tarin", folder=tmp_path)
    assert (done.returncode, "'tarin'" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["demo", "run", "new", "clean", "score", "training", "trace", "catalog", "ui"])
def test_help_leaves_nothing_behind_and_says_what_was_typed(tmp_path, name):
    done = codeft(name, "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
    assert done.stdout.lower().startswith(f"usage: codeft {'eval run' if name == 'score' else name} ")


@pytest.mark.slow
def test_own_code_in_a_projects_folder_is_a_source_without_any_change_to_the_package(tmp_path):
    place = tmp_path / "my project"
    assert "written: " in codeft("new", str(place), folder=tmp_path).stdout
    assert codeft("new", str(place), folder=tmp_path).stdout.count("there already, and kept: ") == 2
    (place / "code").mkdir()
    (place / "code" / "__init__.py").write_text("raise RuntimeError('taken for the module code of Python')")
    (place / "code" / "a.py").write_text('def double(x):\n    """Return twice x."""\n    return 2 * x\n' * 4)
    (place / "sources.toml").write_text('[[source]]\nname = "my-code"\npath = "code"\n')
    assert codeft("--help", folder=place / "code").returncode == 0
    done = codeft("run", "documents/my-code", folder=tmp_path)
    assert "there is no asset 'documents/my-code'" in done.stdout
    assert "no codeft.toml is here" in done.stdout
    done = codeft("run", "documents/my-code", folder=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 2     documents/my-code" in done.stdout
    assert "checks passed" in done.stdout
    assert (place / ".codeft" / "tables" / "documents" / "my-code" / "manifest.json").is_file()
    assert (place / ".codeft" / "dagster" / "dagster.yaml").is_file()
    with own_log(place / ".codeft" / "dagster"):
        done = codeft("run", "group:documets", folder=place)
    assert done.returncode == 1
    assert done.stdout.startswith("another run of this data root goes on")
    assert "\nerror: no asset is in 'group:documets'; groups are corpus, " in done.stdout
    assert "documents/" not in done.stdout
    assert "no codeft.toml is here" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_a_run_cancels_it_and_that_is_no_failure(tmp_path, number):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CODEFT_", "DAGSTER_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "codeft_assets.command", "run"], cwd=tmp_path, env=kept | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    while " of " not in (line := process.stdout.readline()):
        assert line, "ended before its first asset"
    process.send_signal(number)
    said, _ = process.communicate(timeout=patience.SECONDS)
    assert process.returncode == 130
    assert "cancelling: what runs is asked to save its state and to end\n" in said
    assert " failed: " not in said
    with dg.DagsterInstance.from_config(str(tmp_path / ".codeft" / "dagster")) as instance:
        [run] = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.CANCELED


def test_a_second_run_has_a_log_of_its_own(tmp_path):
    with own_log(tmp_path) as first:
        first.write("first")
        first.flush()
        with own_log(tmp_path) as second:
            assert second.name != first.name
        assert Path(first.name).read_text() == "first"
    with own_log(tmp_path) as again:
        assert again.name == first.name
        assert Path(again.name).read_text() == ""


def test_a_port_that_another_program_has_is_refused_with_the_next_one(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = codeft("ui", "--port", str(port), folder=tmp_path)
    assert done.returncode == 1
    assert f"another program answers at http://127.0.0.1:{port}" in done.stderr
    assert f" ui --port {port + 1}" in done.stderr


def test_an_error_in_a_file_of_the_project_is_one_line_and_comes_before_dagster(tmp_path):
    (tmp_path / "codeft.toml").touch()
    (tmp_path / "sources.toml").write_text('[[source]]\nname = "x"\npath = "y"\nthreshold = "30"\n')
    done = codeft("run", "documents/x", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"error: '{tmp_path}/sources.toml', source 'x': threshold '30' is neither")


def test_the_next_commands_can_be_typed_where_they_are_printed(tmp_path):
    done = codeft("new", "my project", folder=tmp_path, PATH="/usr/bin:/bin")
    cd, demo, ui = done.stdout.splitlines()[-3:]
    assert cd == "  cd 'my project'"
    shown = subprocess.run(f"{cd}\n{ui} --help", shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (shown.returncode, "--port" in shown.stdout, demo) == (0, True, ui.replace(" ui", " demo")), shown.stderr


def test_make_is_named_beside_the_makefile_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert made("ui", "ui") == "make ui"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Makefile").touch()
    assert made("ui", "ui") == typed("ui")


FRAMES = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n    ^^^\n'
UNKNOWN = (
    "dagster._core.errors.DagsterInvalidSubsetError: AssetKey(s) ['documents/my-cod'] were selected, but no "
    "AssetsDefinition objects supply these keys. Make sure all keys are spelled correctly."
)
NEAR = (
    '\n\nFor selected asset ["documents", "my-cod"], did you mean one of the following?'
    '\n\t["documents", "my-code"], ["upstream", "my-code"]'
)


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (UNKNOWN + NEAR, "there is no asset 'documents/my-cod'; did you mean documents/my-code or upstream/my-code?"),
        (UNKNOWN, f"there is no asset 'documents/my-cod'; this lists all: {typed('dagster', 'asset', 'list')} "),
        ("a.b.ConfigError: Error in config\n    Error 1: field.\n\n", "Error in config\n    Error 1: field."),
    ],
)
def test_a_run_that_did_not_begin_says_why_without_frames_and_class(log, said):
    assert reason(f"{FRAMES}KeyError: 1\n\nDuring ..., another exception occurred:\n\n{FRAMES}{log}").startswith(said)


def test_without_an_error_the_last_line_is_the_reason_and_what_ran_has_said_its_own():
    assert reason("Usage: dagster\n\nError: No such option: --x\n") == "No such option: --x"
    assert reason(f"{FRAMES}ValueError: of a step\n" + "loss 1\n" * 30 + "out of memory\n") == "out of memory"
    assert reason(f"{FRAMES}KeyboardInterrupt\nError: Materialization failed.\n") == ""
    assert reason("") == ""


# -- what a run prints -------------------------------------------------------------------------------------------------


@dg.asset
def stage():
    table = "| reason | count | share |\n| --- | --- | --- |\n| empty_text | 2 | 20 % |\n| wrong_type | 1 | 10 % |"
    return dg.MaterializeResult(metadata={"num_in": 10, "num_out": 7, "dropped_by_reason": dg.MetadataValue.md(table)})


@dg.asset_check(asset=stage)
def adds_up():
    return dg.AssetCheckResult(passed=True)


@dg.asset_check(asset=stage)
def is_large():
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description="7 rows, fewer than 100")


@dg.asset(deps=[stage])
def broken():
    try:
        raise ValueError("column 'text' is missing; fix the entry in sources.py")
    except ValueError as error:
        raise RuntimeError("stage broken") from error


def printed(*assets, checks=()):
    return printed_by(dg.Definitions(assets=assets, asset_checks=checks, loggers={"terminal": terminal.terminal}))


def printed_by(defs):
    file = io.StringIO()
    terminal._handler.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", file)
        with dg.DagsterInstance.ephemeral() as instance:
            defs.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance, run_config={"loggers": {"terminal": {"config": {}}}}, raise_on_error=False
            )
    return file.getvalue().splitlines()


def test_a_finished_asset_is_one_line_with_its_place_and_what_it_kept_and_dropped():
    assert printed(stage) == [
        "1 of 1     stage                            10 in, 7 kept; dropped: empty_text 2, wrong_type 1"
    ]


def test_files_that_were_left_out_stand_in_the_line_of_their_source():
    @dg.asset
    def own():
        return dg.MaterializeResult(metadata={"num_in": 2, "num_out": 2, "note": "left out: empty files 1"})

    assert printed(own)[0].endswith("2 in, 2 kept; left out: empty files 1")


def test_checks_are_counted_and_a_failed_one_says_why():
    lines = printed(stage, checks=[adds_up, is_large])
    assert [line.split() for line in lines if "is_large" in line] == [
        ["stage", "warn:", "check", "is_large:", "7", "rows,", "fewer", "than", "100"]
    ]
    assert lines[-1] == "1 of 2 checks passed"


def test_a_failed_check_without_a_sentence_says_what_it_measured():
    @dg.asset_check(asset=stage)
    def adds_up():
        return dg.AssetCheckResult(passed=False, metadata={"rows": 7, "share": 0.5, "table": dg.MetadataValue.md("|")})

    assert printed(stage, checks=[adds_up])[-3].endswith("error: check adds_up: rows 7, share 0.5")


def test_a_check_that_blocks_is_said_once_and_ends_what_needs_it():
    @dg.asset_check(asset=stage, blocking=True)
    def is_complete():
        return dg.AssetCheckResult(passed=False, description="3 rows are missing")

    @dg.asset(deps=[stage])
    def below():
        return None

    lines = printed(stage, below, checks=[is_complete])
    assert [line.split()[1:4] for line in lines[1:3]] == [["error:", "check", "is_complete:"], ["not", "run:", "each"]]
    assert not [line for line in lines if "Dagster" in line]


def test_a_failed_asset_has_the_name_of_its_key():
    @dg.asset(key=["documents", "my-code"])
    def own():
        raise ValueError("no such folder")

    assert printed(own)[0].split()[3:5] == ["documents/my-code", "failed:"]


def test_a_failure_is_the_error_that_our_code_raised_and_no_frame():
    lines = printed(stage, broken)
    [failed] = [line for line in lines if "failed" in line]
    assert failed.endswith("failed: column 'text' is missing; fix the entry in sources.py")
    assert not [line for line in lines if "Traceback" in line or "File " in line]


def test_a_failure_is_our_sentence_and_not_the_cause_that_it_was_made_of():
    @dg.asset
    def unreachable():
        try:
            refuse()
        except UnreachableUpstreamError as error:
            raise RuntimeError("after 3 retries") from error

    def refuse():
        try:
            raise ConnectionError("[Errno -2] Name or service not known")
        except ConnectionError as error:
            raise UnreachableUpstreamError("'hf://x' cannot be reached; check the network") from error

    assert printed(unreachable)[0].endswith("failed: 'hf://x' cannot be reached; check the network")


def test_steps_below_a_failed_one_are_counted_and_do_not_bury_its_reason():
    @dg.asset(deps=[broken])
    def below():
        return None

    @dg.asset(deps=[below])
    def far_below():
        return None

    lines = printed(stage, broken, below, far_below)
    assert [line.strip() for line in lines[1:]] == [lines[1].strip(), "2 not run: each needs something that failed"]


def test_a_running_asset_is_heard_of_but_not_at_every_step(monkeypatch):
    @dg.asset
    def training(context):
        for step in range(100):
            context.log.info(f"step {step}/100")

    assert printed(training) == ["1 of 1     training"]
    monkeypatch.setattr(terminal, "SECONDS_BETWEEN_LINES", -1)
    assert printed(training)[7].split() == ["training", "step", "7/100"]


def test_warnings_are_always_shown():
    @dg.asset
    def careful(context):
        context.log.warning("two rows - and one more - are odd")

    assert printed(careful)[0].endswith("warning: two rows - and one more - are odd")


def test_a_run_that_fails_before_its_first_asset_says_why():
    @dg.resource
    def room(_):
        raise ValueError("CODEFT_X is wrong")

    @dg.asset(required_resource_keys={"room"})
    def housed():
        return None

    defs = dg.Definitions(assets=[housed], resources={"room": room}, loggers={"terminal": terminal.terminal})
    assert printed_by(defs)[0] == "the run failed: CODEFT_X is wrong"
