"""Checks of the quality stages: the classifier ranks, and no threshold or rule empties a source."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from codeft_assets.curation.documents import FORMATS
from codeft_assets.curation.quality.classifier_report import evaluate_classifier
from codeft_assets.curation.quality.thresholds import keep_rates, nearest_to_threshold
from codeft_assets.defs.assets.quality import CLASSIFIER_FILE, classifier, scores
from codeft_assets.defs.run_stage import document_tables
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.web_ui.plots import bar_plot
from codeft_assets.defs.workspace import Workspace
from codeft_assets.sources import SOURCES
from codeft_assets.stages.quality import labeled, load_classifier
from codeft_assets.stages.texts import find_documents

MINIMUM_AUC = 0.85
"""Below this the classifier ranks no better than the rules alone; measured 0.93 and more on the shipped labels."""
MINIMUM_TOKEN_YIELD = {name: 0.02 if name == "raw" else 0.5 for name in FORMATS}
"""A smaller yield means a wrong rule or threshold, not a bad text. Of raw text datatrove's chain for prose kept 0.013
(our measurement, on code); curated formats were chosen for teaching, and half of them is not rubbish."""


@dg.asset_check(asset=classifier, blocking=True, description=f"The AUC on held-out labels is at least {MINIMUM_AUC}.")
def ranks_held_out_labels(workspace: Workspace) -> dg.AssetCheckResult:
    """Measure the stored classifier again on the held-out labels."""
    place = workspace.store.place("quality/classifier", CLASSIFIER_FILE)
    held_out = labeled(workspace.store.table("quality/annotations"), held_out=True)
    card = evaluate_classifier(load_classifier(place), held_out)
    passed = card.auc is not None and card.auc >= MINIMUM_AUC
    metadata = {"num_held_out": card.num_held_out} | ({} if card.auc is None else {"auc": card.auc})
    return dg.AssetCheckResult(passed=passed, metadata=metadata)


@dg.asset_check(
    asset=scores,
    blocking=True,
    description="Every source keeps enough of its tokens to be worth having; nothing below runs before that is so.",
)
def keeps_enough_of_every_source(workspace: Workspace) -> dg.AssetCheckResult:
    """Compare kept and dropped tokens by source, and show the two documents next to each threshold."""
    wanted = pl.col("source").replace_strict(
        {name: MINIMUM_TOKEN_YIELD[source.format] for name, source in SOURCES.items()}, return_dtype=pl.Float64
    )
    by_source = keep_rates(_decided(workspace)).with_columns(wanted_yield=wanted)
    starved = by_source.filter(pl.col("token_yield") < pl.col("wanted_yield"))
    said = [
        f"{name} keeps {found:.3f} of its tokens, less than {least}"
        for name, found, least in starved.select("source", "token_yield", "wanted_yield").iter_rows()
    ]
    shown = dict(by_source.select("source", "token_yield").iter_rows())
    return dg.AssetCheckResult(
        passed=not said,
        description=f"{'; '.join(said)}. Lower the threshold, or see which rule drops them" if said else None,
        metadata={
            "sources_that_keep_too_little": ", ".join(starved["source"]) or "none",
            "token_yield": bar_plot(shown, title="tokens kept by quality", unit="share of the source's tokens"),
            "by_source": md.markdown_table([name.replace("_", " ") for name in by_source.columns], by_source.rows()),
            "next_to_the_threshold": _next_to_the_threshold(workspace),
        },
    )


_DECIDED = ("educational_value", "minimum_educational_value", "drop_reason", "drop_detail")


def _decided(workspace: Workspace) -> Iterator[pl.DataFrame]:
    """Yield the decisions and what they were made of, a shard of each at a time: both are of the same documents."""
    scored = workspace.store.table("quality/scores").read_parts(["document_id", *_DECIDED])
    known = workspace.store.table("quality/signals").read_parts(["document_id", "source", "num_chars"])
    for decided, measured in zip(scored, known, strict=True):
        yield decided.join(measured, on="document_id", maintain_order="left")


def _next_to_the_threshold(workspace: Workspace) -> dg.MarkdownMetadataValue:
    """Return, source by source, the worst document that is kept and the best that is dropped."""
    kept, dropped = nearest_to_threshold(_decided(workspace))
    said = pl.format("kept, educational value {}", pl.col("educational_value").round(4))
    chosen = pl.concat([kept.with_columns(note=said), dropped.with_columns(note="dropped, " + pl.col("drop_detail"))])
    columns = ["document_id", "source_row", "text"]
    texts = find_documents(document_tables(workspace), chosen["document_id"].to_list(), columns)
    shown = chosen.sort("source", maintain_order=True).join(texts, on="document_id", how="left", maintain_order="left")
    return md.document_preview(shown, note="note", limit=chosen.height)
