"""The code location that ``workspace.yaml`` names: every asset, its checks, jobs and automation."""

import dagster as dg

from codeft_assets.defs.assets import (
    annotations,
    corpus,
    decontamination,
    dedup,
    held_out,
    mixture_plan,
    model,
    quality,
)
from codeft_assets.defs.assets.documents import DOCUMENT_ASSETS
from codeft_assets.defs.assets.scores import SCORE_ASSETS
from codeft_assets.defs.assets.upstream import UPSTREAM_ASSETS, upstream_sensor
from codeft_assets.defs.automation.alerts import alert_sensor
from codeft_assets.defs.automation.retention import retention, retention_sensor
from codeft_assets.defs.automation.rules import CORPUS_AUTOMATION, TRAINING_AUTOMATION
from codeft_assets.defs.checks.documents import CHECKS
from codeft_assets.defs.web_ui.code_references import with_code_references
from codeft_assets.defs.workspace import Workspace

STAGES = dg.load_assets_from_modules(
    [annotations, quality, dedup, held_out, decontamination, mixture_plan, corpus, model]
)
CORPUS_GROUPS = ("sources", "quality", "dedup", "decontamination", "corpus")

defs = dg.Definitions(
    assets=with_code_references([*UPSTREAM_ASSETS, *DOCUMENT_ASSETS, *STAGES, *SCORE_ASSETS]),
    asset_checks=CHECKS,
    jobs=[
        retention,
        dg.define_asset_job("everything", dg.AssetSelection.all(), description="From the sources to the scoreboard"),
        dg.define_asset_job(
            "build_corpus",
            dg.AssetSelection.groups(*CORPUS_GROUPS) - dg.AssetSelection.assets(["corpus", "packed"]),
            description="From the sources to the corpus, without training",
        ),
        dg.define_asset_job(
            "train_and_score",
            dg.AssetSelection.groups("model", "scores") | dg.AssetSelection.assets(["corpus", "packed"]),
            description="From the corpus to the scoreboard",
        ),
    ],
    sensors=[upstream_sensor, CORPUS_AUTOMATION, TRAINING_AUTOMATION, alert_sensor, retention_sensor],
    resources={"workspace": Workspace(), "pipes": dg.PipesSubprocessClient(termination_timeout_seconds=120)},
    executor=dg.in_process_executor,  # what is heavy runs in a pool or a subprocess; a process per step costs 2 s
)
