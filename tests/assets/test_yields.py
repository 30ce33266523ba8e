"""Yield of a source: the ledger's fates, stage by stage."""

import polars as pl

from codeft_assets.curation.corpus.ledger import TALLIED, tally_outcomes
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.yields import source_yields

REPORT = StageReport(num_in=9, num_out=6, dropped={"bad": 3}, seconds=60.0)


def test_each_stage_takes_its_own_and_no_other_sources():
    fates = [("kept", "mixture"), ("over_budget", "mixture"), ("exact", "deduplication"), ("short", "quality")]
    rows = [("a", *fate, 33, "", "") for fate in [*fates, ("contaminated", "decontamination"), ("kept", "mixture")]]
    ledger = pl.DataFrame([*rows, ("b", "kept", "mixture", 33, "", "")], TALLIED, orient="row")
    [found] = source_yields(tally_outcomes([ledger[:3], ledger[3:]]), {"a": REPORT})
    assert (found.source, found.made, found.passed) == ("a", 9, 6)
    assert (found.after_quality, found.after_decontamination, found.after_deduplication, found.kept) == (5, 4, 3, 2)
    assert found.tokens_per_minute == 60
