"""OpenCoder's rules for code, run when they are asked for."""

import dagster as dg

from codeft_assets.curation.tally import sum_by
from codeft_assets.defs.assets.quality import OPENCODER
from codeft_assets.defs.run_stage import OWNERS, document_keys, document_tables, result, run_stage
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.workspace import Workspace
from codeft_assets.stages.opencoder import judge_code, opencoder_stage
from codeft_assets.store.engine import table_units


@dg.asset(
    key=OPENCODER.split("/"),
    deps=document_keys(),
    group_name="quality",
    kinds={"parquet", "python"},
    owners=OWNERS,
    code_version=opencoder_stage().code_version,
)
def opencoder(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """One row is a file of raw code with the first of OpenCoder's rules that it breaks, if any (arXiv 2411.04905).

    Nothing is dropped here: quality/scores takes these verdicts in place of our rules for code where
    ``opencoder_rules`` is set. A lexer separates comments from code, so a megabyte takes about two CPU-seconds.
    """
    table, run = run_stage(context, workspace, judge_code, table_units(document_tables(workspace)), opencoder_stage())
    parts = (part.with_columns(count=1) for part in table.read_parts(["preset_reason"]))
    counts = sum_by(parts, "preset_reason").drop_nulls().sort("count", "preset_reason", descending=[True, False])
    kept = 1 - int(counts["count"].sum()) / max(run.manifest.report.num_out, 1)
    metadata = {"kept_fraction": round(kept, 4), "reasons": md.markdown_table(("reason", "files"), counts.iter_rows())}
    return result(table, run, metadata)


ASSETS = [opencoder]
