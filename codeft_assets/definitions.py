"""The code location that ``workspace.yaml`` names: every asset and check, the jobs, the sensors and the resources."""

import dagster as dg

from codeft_assets.defs import assets, checks
from codeft_assets.defs.assets.upstream import upstream_sensor
from codeft_assets.defs.automation.alerts import alert_sensor
from codeft_assets.defs.automation.housekeeping import housekeeping_sensor
from codeft_assets.defs.automation.lost_runs import lost_runs_sensor
from codeft_assets.defs.automation.retention import retention, retention_sensor
from codeft_assets.defs.automation.rules import CORPUS_AUTOMATION, TRAINING_AUTOMATION
from codeft_assets.defs.messages import program_client
from codeft_assets.defs.optional import optional_assets, optional_checks
from codeft_assets.defs.run_config import checked_workspace
from codeft_assets.defs.terminal import terminal
from codeft_assets.defs.web_ui.code_references import with_code_references

PACKED = dg.AssetSelection.assets(["corpus", "packed"])
"""Needs a tokenizer, so it is made with the model and not with the corpus."""
CORPUS = dg.AssetSelection.groups("sources", "quality", "dedup", "decontamination", "corpus") - PACKED
MODEL = dg.AssetSelection.groups("model", "scores") | PACKED

ASSETS = with_code_references([*dg.load_assets_from_package_module(assets), *optional_assets()])
CHECKS = [*dg.load_asset_checks_from_package_module(checks), *optional_checks()]

defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=CHECKS,
    jobs=[
        retention,
        dg.define_asset_job("everything", dg.AssetSelection.all(), description="From the sources to the scoreboard"),
        dg.define_asset_job("build_corpus", CORPUS, description="From the sources to the corpus, without training"),
        dg.define_asset_job("train_and_score", MODEL, description="From the corpus to the scoreboard"),
    ],
    sensors=[
        *(upstream_sensor, CORPUS_AUTOMATION, TRAINING_AUTOMATION),
        *(alert_sensor, retention_sensor, housekeeping_sensor, lost_runs_sensor),
    ],
    resources={
        "workspace": checked_workspace([*ASSETS, *CHECKS], retention.nodes),
        "pipes": program_client(),
    },
    loggers={"terminal": terminal},
    executor=dg.in_process_executor,  # the heavy work runs in pools and subprocesses; a process per step costs 2 s
)
