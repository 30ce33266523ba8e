"""Completions of a run are scored beside it, once a step; without a sandbox, the training goes on."""

import json

import dagster as dg

from codeft_assets.defs.assets.model import _passing
from codeft_assets.defs.in_training_scores import InTrainingScores
from codeft_assets.defs.web_ui.metadata import in_reading_order
from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.sandbox.provider import SandboxError

ITEM = load_items(BENCHMARKS["embedded"])[0]


def test_completions_become_the_share_that_passes_live_and_in_the_plot(tmp_path):
    scores = InTrainingScores(dg.build_asset_context())
    entry = {"step": 40, "completions": {ITEM.task_id: ITEM.solution}, "probe_completion_seconds": 0.5}
    scored = scores.score_entry(entry)
    assert scored == {"step": 40, "probe_completion_seconds": 0.5, "probe_pass_at_1": 1.0, "probe_num_scored": 1}
    assert scores.score_entry({"step": 40, "loss": 2.0}) == {"step": 40, "loss": 2.0}
    later = {"step": 80, "completions": {ITEM.task_id: ""}}
    (tmp_path / "metrics.jsonl").write_text(
        json.dumps(entry) + '\n{"step": 45, "loss": 1.5}\n' + json.dumps(later) + "\n"
    )
    points = scores.points(tmp_path / "metrics.jsonl")
    assert points == {"embedded": [(40, 1.0), (80, 0.0)]}
    shown = in_reading_order(_passing(points))
    assert shown["shortest_embedded"].value == 0.0
    assert shown["shortest_items"] == (
        "passed of the 16 shortest items while training: embedded 0% (step 80); all items are scored in scores/*"
    )
    assert not [name for name in shown if "pass@1" in name], "the name of a whole score"
    assert _passing({}) == {}


def test_where_no_jail_works_nothing_is_scored_and_nothing_fails(monkeypatch):
    def refuse(*_):
        raise SandboxError("no isolation works here")

    monkeypatch.setattr("codeft_assets.defs.in_training_scores.grade_by_benchmark", refuse)
    assert InTrainingScores(dg.build_asset_context()).score_entry({"step": 1, "completions": {"a": ""}}) == {"step": 1}
