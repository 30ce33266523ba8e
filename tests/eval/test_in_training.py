"""Completions that a model wrote while it trained are graded as any others, and items that are not known are named."""

import pytest

from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.scoring.in_training import grade_completions


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
