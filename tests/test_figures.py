"""Measured figures of the documentation: tables name their program, and figures agree with each other and the code.

The machines that measured them are gone, so no test can measure them again. These find a figure that was edited alone.
"""

import json
import re
from collections import Counter
from statistics import median

import pytest

from tests import papers
from tests.eval.hostile import ATTACKS
from tests.training_report import REPORT as REPORT_FILE
from tests.training_report import differences, render, tables
from tests.walk import ROOT

REPORT = (ROOT / "docs/training_report.md").read_text()
FOUND = json.loads(REPORT_FILE.read_text())
EVALUATION = (ROOT / "docs/evaluate_and_compare.md").read_text()
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def numbers(text):
    return [float(found.replace(",", "")) for found in _NUMBER.findall(text)]


def section(page, heading):
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1]


def table(text):
    """Return the rows of the first table below its header, as cells."""
    lines = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("page", [REPORT, EVALUATION], ids=["report", "evaluation"])
def test_a_table_of_measurements_follows_the_name_of_its_program_or_the_date_of_the_only_run(page):
    only_run = re.search(r"measured on \d{4}-\d\d-\d\d", page.split("\n## ")[0])
    parts = re.split(r"((?:^\|.*\n)+)|^#.*\n", page, flags=re.MULTILINE)
    for text, rows in zip(parts[::2], parts[1::2], strict=False):
        program = re.search(r"tests/benchmarks/\w+\.py|python -m (?:tests\.\w+|codeft_eval check)|`run\.json`", text)
        assert not _is_measured(rows or "") or program or only_run, f"{text}{rows}"


def _is_measured(rows):
    return any(len(re.findall(r"\| \**\d", row)) > 1 for row in rows.splitlines())


def test_the_hostile_programs_of_the_page_are_those_of_the_suite():
    rows = table(section(EVALUATION, "Hostile programs"))
    summary, attacks = rows[:5], rows[5:]
    assert f"{len(ATTACKS)} hostile programs" in EVALUATION
    assert {row[0].strip("`") for row in attacks} <= set(ATTACKS)
    for column in (1, 2, 3):
        letters = Counter("".join(row[column] for row in attacks if row[column] != "contained"))
        num_breaches = sum(row[column] != "contained" for row in attacks)
        assert [int(row[column]) for row in summary] == [
            len(ATTACKS) - num_breaches,
            *(letters[name] for name in "FXPK"),
        ]


def test_the_time_of_an_evaluation_is_the_sum_of_its_parts():
    total, *parts, _ = table(section(EVALUATION, "All of HumanEval and MBPP, without a network"))
    for column in range(1, 5):
        assert float(total[column]) == pytest.approx(sum(float(row[column]) for row in parts), abs=0.15)


def test_the_tables_of_the_report_are_those_of_its_runs():
    assert render(REPORT, FOUND) == REPORT


def test_an_edited_table_of_the_report_is_found():
    row = tables(FOUND)["scores"].splitlines()[2]
    assert render(REPORT.replace(row, row.replace("17 of 164", "71 of 164")), FOUND) == REPORT
    assert "17 of 164" in row


@pytest.mark.parametrize(
    "name",
    [
        "humaneval_from_scratch",
        "humaneval_from_base",
        "curated_minus_uncurated_bits_per_byte",
        "demo_composed_pass_rate",
        "generation_tokens_per_second",
    ],
)
def test_a_headline_of_the_report_has_its_number_interval_and_command(name):
    found = FOUND[name]
    assert found["n"] > 0
    assert found["command"].startswith(("python -m codeft_", "python tests/benchmarks/", "make "))
    assert found["low"] is None or found["low"] <= found["value"] <= found["high"]


def test_the_prose_of_the_report_says_what_its_tables_say():
    passed = [FOUND["models"][model]["scores"]["humaneval"] for model in "AB"]
    assert f"A solves {passed[0]['num_passed']} of HumanEval's {passed[0]['num_scored']} problems" in REPORT
    assert f"first try, B {passed[1]['num_passed']};" in REPORT
    gaps = {size: differences(corpora) for size, corpora in FOUND["ablation"].items()}
    assert gaps["cpu"]["raw"]["mean"] > 0 > gaps["large"]["raw"]["mean"]
    assert all(gap["mean"] > 0 for gap in gaps["small"].values())


def test_the_ratios_of_the_report_are_those_of_its_table():
    text = section(REPORT, "The loop beside others")
    rows = {row[0].split(":")[0]: row for row in table(text)}
    small, large = ({name: numbers(row[i])[0] for name, row in rows.items() if row[i]} for i in (1, 3))
    prose = text.replace("\n", " ")
    stated = numbers(re.search(r"Our loop reaches (.*?) times the Trainer", prose)[1])
    bare, trainer = "bare compiled bf16 loop, fused AdamW, none of that", "`transformers.Trainer`, eager"
    ratios = [speeds["ours"] / speeds[other] for other in (bare, trainer) for speeds in (small, large)]
    assert [number for number in stated if number not in (46, 103)] == pytest.approx(ratios, abs=0.005)


def test_the_tables_of_the_papers_are_those_of_their_runs():
    page = papers.PAGE.read_text()
    assert papers.render(page, papers.tables()) == page
    row = papers.tables()["strategies"].splitlines()[2]
    assert papers.render(page.replace(row, row.replace(" % (", "0 % (")), papers.tables()) == page
    with pytest.raises(ValueError, match="without a file"):
        papers.render(f"{page}<!-- table unmeasured -->", papers.tables())


def test_the_table_of_memory_is_the_one_that_its_run_wrote():
    found = json.loads((ROOT / "docs/measured/corpus_scale.json").read_text())["results"]
    rows = table(section((ROOT / "docs/train_on_a_gpu.md").read_text(), "One recipe for three assets"))
    measured = {
        text: [part[name] for part in (row["tokenizer"], row["packing"]) for name in ("peak_megabytes", "cpu_seconds")]
        for text, row in found.items()
    }
    assert {text: numbers(" ".join(cells)) for text, *cells in rows} == measured


def test_the_speeds_of_several_nodes_are_those_of_their_runs():
    speeds = json.loads((ROOT / "docs/measured/nodes.json").read_text())["tokens_per_second"]
    one, two, nodes = (
        median(speeds[name].values()) / 1e6 for name in ("one GPU", "two processes of one node", "two nodes")
    )
    page = (ROOT / "docs/train_on_a_gpu.md").read_text()
    stated = numbers(
        re.search(r"median of steps 50 to 90: (.*?)\. These", page, re.DOTALL)[1].replace("one GPU each", "")
    )
    assert stated == pytest.approx([one, two, two / one, nodes, nodes / one], abs=0.005)
