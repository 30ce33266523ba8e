"""OpenCoder's rules on shards: a verdict for each file of code, which takes the place of our own rules for code."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from codeft_assets.curation.opencoder.measurements import measure
from codeft_assets.curation.opencoder.rules import DATA, first_broken
from codeft_assets.curation.quality.rules import (
    CODE,
    CODE_RULE_NAMES,
    LOW_EDUCATIONAL_VALUE,
    QUALITY_RULES,
    SOME_CODE,
    QualityRule,
)
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.store.engine import ShardResult, Stage
from codeft_assets.store.manifest import Shard
from codeft_assets.store.tables import Table

JUDGED_FORMAT = "raw"
LANGUAGES = tuple(sorted({*CODE, "html", *DATA} - {SOME_CODE}))
"""Languages of files that the preset judges."""
OTHER_RULES: tuple[QualityRule, ...] = tuple(rule for rule in QUALITY_RULES if rule.name not in CODE_RULE_NAMES)
VERDICT_SCHEMA = {"document_id": pl.String, "preset_reason": pl.String, "preset_detail": pl.String}


def opencoder_stage() -> Stage:
    """Identify the verdicts of the preset."""
    return Stage(name="quality/opencoder", code_version=code_version_of(judge_code))


def judge_code(table: Table, shard: Shard) -> Iterator[ShardResult]:
    """Judge the raw code of a shard by OpenCoder's rules; a row for each file, without a reason where it is kept."""
    rows = table.read_shard(shard, ["document_id", "format", "language", "text"])
    is_code = (pl.col("format") == JUDGED_FORMAT) & pl.col("language").is_in(LANGUAGES)
    chosen = pl.DataFrame(rows).filter(is_code)
    verdicts = [
        first_broken(measure(text, language), language) or (None, None)
        for language, text in chosen.select("language", "text").iter_rows()
    ]
    reasons, details = zip(*verdicts, strict=True) if verdicts else ((), ())
    names = list(VERDICT_SCHEMA)[1:]
    judged = chosen.select("document_id").with_columns(
        pl.Series(name, values, pl.String) for name, values in zip(names, (reasons, details), strict=True)
    )
    num_other = rows.num_rows - judged.height
    dropped = {"other_format_or_language": num_other} if num_other else {}
    report = StageReport(num_in=rows.num_rows, num_out=judged.height, dropped=dropped)
    yield ShardResult(rows=judged.to_arrow(), report=report)


def with_preset(decided: pl.DataFrame, verdicts: Table, unit: str) -> pl.DataFrame:
    """Return decisions by ``OTHER_RULES`` with the preset's reasons: before the minimum, behind the language.

    Args:
        decided: Documents of a shard.
        verdicts: Those of the preset.
        unit: Of the shard of documents: only its verdicts are read.
    """
    shards = [shard for shard in verdicts.manifest().shards if shard.unit == unit]
    found = [verdicts.scan_shard(shard).select(list(VERDICT_SCHEMA)).collect() for shard in shards]
    own = pl.concat(found) if found else pl.DataFrame(schema=VERDICT_SCHEMA)
    joined = decided.join(own, on="document_id", how="left", maintain_order="left")
    first = pl.col("preset_reason").is_not_null() & (
        pl.col("drop_reason").is_null() | (pl.col("drop_reason") == LOW_EDUCATIONAL_VALUE)
    )
    return joined.with_columns(
        pl.when(first).then(f"preset_{name}").otherwise(f"drop_{name}").alias(f"drop_{name}")
        for name in ("reason", "detail")
    ).drop("preset_reason", "preset_detail")
