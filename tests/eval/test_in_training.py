"""Completions that a model wrote while it trained are graded as any others, and items that are not known are named."""

import pytest

from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.scoring.in_training import grade_by_benchmark, grade_completions, pass_at_1_key


def test_the_share_that_passes_is_of_those_that_were_written():
    entry = BENCHMARKS["embedded"]
    items = load_items(entry)[:3]
    texts = {
        items[0].task_id: items[0].solution + "\ndef more(",
        items[1].task_id: "    return\n",
        items[2].task_id: "",
    }
    assert grade_completions(entry, texts) == {"probe_pass_at_1": 1 / 3, "probe_num_scored": 3}
    with pytest.raises(ValueError, match=r"items \['nope'\] are not of benchmark 'embedded'"):
        grade_completions(entry, {"nope": ""})


def test_the_completions_of_several_benchmarks_are_scored_apart():
    first, second = (load_items(BENCHMARKS[name])[0] for name in ("embedded", "composed_basic"))
    texts = {first.task_id: "    return None\n", second.task_id: second.solution}
    found = grade_by_benchmark(("embedded", "composed_basic"), texts)
    assert {name: found[pass_at_1_key(name)] for name in ("embedded", "composed_basic")} == {
        "embedded": 0.0,
        "composed_basic": 1.0,
    }
    assert grade_by_benchmark(("embedded",), {first.task_id: first.solution}) == {
        "probe_pass_at_1": 1.0,
        "probe_num_scored": 1,
    }
    with pytest.raises(ValueError, match="are of none of"):
        grade_by_benchmark(("embedded",), texts)
