"""BigCodeBench, with rows of our own in upstream's form."""

import json

import pytest

from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.benchmarks.datafiles import read_rows
from codeft_eval.sandbox.python.libraries import find_libraries
from codeft_eval.scoring.graders import open_grader
from codeft_eval.scoring.harness_check import check_harness
from codeft_eval.scoring.options import Options

MEAN = {
    "task_id": "BigCodeBench/1",
    "complete_prompt": 'import numpy as np\n\ndef task_func(values):\n    """Return the mean of the values."""\n',
    "instruct_prompt": "Return the mean of the values.",
    "canonical_solution": "    return float(np.mean(values))\n",
    "entry_point": "task_func",
    "test": "import unittest\nimport numpy as np\n\nclass TestCases(unittest.TestCase):\n    def test_list(self):\n"
    "        self.assertEqual(task_func([1, 2]), 1.5)\n    def test_array(self):\n"
    "        self.assertAlmostEqual(task_func(np.arange(4)), 1.5)\n",
    "libs": "['numpy', 'unittest']",
}
ABSENT = MEAN | {"task_id": "BigCodeBench/2", "libs": "['no_such_library', 'numpy']"}


@pytest.fixture(params=["bigcodebench", "bigcodebench_hard"])
def benchmark(request, tmp_path, monkeypatch):
    (tmp_path / f"{request.param}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (MEAN, ABSENT)))
    monkeypatch.setenv("CODEFT_BENCHMARKS", str(tmp_path))
    read_rows.cache_clear()
    yield BENCHMARKS[request.param]
    read_rows.cache_clear()


def test_canonical_solutions_pass_and_empty_completions_fail(benchmark):
    check = check_harness(benchmark, Options())
    assert (check.unexpected, check.num_items) == ({}, 2)


def test_every_method_counts_and_an_item_without_its_library_is_unscored(benchmark):
    items = load_items(benchmark)
    with open_grader(benchmark) as grader:
        grades = grader.grade([items[0], items[0], items[1]], [MEAN["canonical_solution"], "    return 2.0\n", "x"])
    assert [grade.verdict for grade in grades] == ["passed", "failed", "unscored"]
    assert "not declared by the benchmark: no_such_library; pip install" in grades[2].detail


def test_a_library_is_imported_by_the_names_of_its_modules():
    assert find_libraries(("numpy", "scikit-learn", "python-dateutil")).declared == ("numpy", "sklearn", "dateutil")
