"""Reports: silent above rank 0 but for errors, on the terminal otherwise; Pipes is tested with real runs."""

from codeft_assets.base.report import markdown, open_reporter, path


def test_the_terminal_shows_lines_and_the_result(monkeypatch, capsys):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("DAGSTER_PIPES_CONTEXT", raising=False)
    with open_reporter() as reporter:
        reporter.log("step 1")
        reporter.observe({"loss": 1.0})
        reporter.materialize({"num_rows": 3, "plan": markdown("*a*"), "folder": path("/x")}, "hash")
    captured = capsys.readouterr()
    assert captured.err == "step 1\n"
    assert captured.out == "num_rows: 3\nplan: *a*\nfolder: /x\ndata_version: hash\n"


def test_a_rank_above_zero_reports_errors_only(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    with open_reporter() as reporter:
        reporter.log("step 1")
        reporter.fail("out of memory")
        reporter.materialize({"num_rows": 3}, "hash")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "process 1: error: out of memory\n")
