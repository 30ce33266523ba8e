"""The plan on paper: its tables are computed from what was measured, and grow as the text does."""

import re
from dataclasses import replace

import pytest

from tests import scale_plan, scale_tables
from tests.papers import render
from tests.scale_plan import PAGE, computed, plan_table, stage_costs


def numbers(table, row):
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {row} |")]
    return [float(cell.replace(",", "")) for cell in line.split("|")[2:-1]]


def test_the_page_has_the_tables_of_the_files():
    assert computed() in PAGE.read_text(), "run python -m tests.scale_plan"


def test_ten_terabytes_cost_in_proportion():
    small, large = numbers(plan_table(stage_costs()), "CPU hours")
    assert large / small == pytest.approx(10e12 / 150e9, rel=0.05)  # hours are rounded


def test_a_dearer_stage_makes_every_figure_dearer_that_it_is_part_of():
    costs = stage_costs()
    dearer = [replace(costs[0], cpu_seconds=costs[0].cpu_seconds + 1e-6), *costs[1:]]
    gained = numbers(plan_table(dearer), "CPU hours")[1] - numbers(plan_table(costs), "CPU hours")[1]
    assert gained == pytest.approx(10e12 * 1e-6 / 3600, abs=1)


def test_every_stage_of_deduplication_counts_as_shuffled():
    costs = stage_costs()
    parts = [cost.written_bytes for cost in costs if cost.name.startswith("dedup/")]
    assert scale_plan.shuffled(costs) == pytest.approx(sum(parts))
    assert parts


def test_the_page_of_the_cluster_has_the_tables_of_its_files():
    page = scale_tables.PAGE.read_text()
    assert render(page, scale_tables.tables()) == page, "run python -m tests.scale_tables"


@pytest.mark.parametrize("name", scale_tables.tables())
def test_an_edited_figure_of_the_cluster_is_found(name):
    page, found = scale_tables.PAGE.read_text(), scale_tables.tables()
    row = found[name].splitlines()[2]
    edited = page.replace(row, row.replace("1", "2").replace("3", "4"))
    assert edited != page
    assert render(edited, found) == page


def test_no_figure_of_the_cluster_stands_outside_of_its_tables():
    """A number with a unit of measurement in the prose would be tied to nothing."""
    prose = re.sub(r"<!-- table.*?<!-- end -->", "", scale_tables.PAGE.read_text(), flags=re.DOTALL)
    costs = prose[prose.index("Growth, by") : prose.index("## What to watch")]
    assert re.findall(r"\d[\d,.]* (?:CPU|seconds|MB|GB|TB|s\b|hours|times)", costs) == []
