"""The code location as a whole: light to load, every asset described, every design key there."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from codeft_assets.definitions import defs
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.sources import SOURCES

ROOT = Path(__file__).parents[2]
GRAPH = defs.resolve_asset_graph()


def test_loading_the_definitions_imports_no_heavy_library():
    script = (
        "import sys, codeft_assets.definitions; heavy = 'torch transformers trl datasets lm_eval sklearn matplotlib'; "
        "print([name for name in heavy.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("key", sorted(GRAPH.materializable_asset_keys), ids=lambda key: key.to_user_string())
def test_every_asset_has_a_description_a_group_kinds_an_owner_and_a_code_version(key):
    node = GRAPH.get(key)
    assert node.description
    assert node.group_name not in {None, "default"}
    assert node.kinds
    assert node.owners
    assert node.code_version


def test_the_keys_are_those_of_the_design():
    keys = {key.to_user_string() for key in GRAPH.materializable_asset_keys}
    assert keys == {
        *(f"documents/{name}" for name in SOURCES),
        *("quality/annotations", "quality/classifier", "quality/signals", "quality/scores"),
        *("dedup/signatures", "dedup/clusters"),
        *("decontamination/held_out", "decontamination/benchmark_texts", "decontamination/matches"),
        *("corpus/mixture_plan", "corpus/ledger", "corpus/mixture", "corpus/packed"),
        *("model/tokenizer", "model/checkpoint"),
        *("scores/embedded", "scores/competition_math"),
        *("scores/reference", "scores/reference_measured", "scoreboard"),
    }
    observable = {key.to_user_string() for key in GRAPH.observable_asset_keys}
    assert observable == {f"upstream/{name}" for name in SOURCES}


def test_every_field_of_the_launchpad_is_described():
    for node in defs.resolve_implicit_global_asset_job_def().nodes:
        schema = node.definition.config_schema
        fields = getattr(schema.config_type, "fields", {}) if schema else {}
        assert all(field.description for field in fields.values()), node.name


def test_training_is_off_until_it_is_wanted():
    sensors = {sensor.name: sensor.default_status for sensor in defs.sensors}
    assert sensors["training_automation"] == dg.DefaultSensorStatus.STOPPED
    assert sensors["corpus_automation"] == dg.DefaultSensorStatus.RUNNING


def test_training_and_scoring_take_turns_on_the_gpu():
    job = defs.resolve_implicit_global_asset_job_def()
    pools = {node.definition.name: node.definition.pool for node in job.nodes}
    assert {pools["model__checkpoint"], pools["scores__embedded"]} == {"gpu"}


@pytest.mark.parametrize("text", ["```\nbreak out\n```", "````", "<script>alert(1)</script>", "a" * 3000])
def test_a_document_cannot_leave_its_fence(text):
    fence, *_, last = md.fenced(text).split("\n")
    assert last == fence.removesuffix("text")
    assert last not in text


def test_a_cell_cannot_carry_markup_or_end_its_row():
    assert md.cell("a|b\n<img src=x onerror=y> `code`") == "a&#124;b &lt;img src=x onerror=y> 'code'"


@pytest.mark.parametrize(("bad", "limit", "fails"), [(1, 0.1, False), (2, 0.1, True), (10, 1.0, True)])
def test_more_bad_rows_than_allowed_fail_the_source(bad, limit, fails):
    from codeft_assets.curation.report import StageReport
    from codeft_assets.defs.assets.documents import check_bad_fraction
    from codeft_assets.store.manifest import Manifest

    report = StageReport(num_in=10, num_out=10 - bad, dropped={"null_value": bad})
    manifest = Manifest(
        key="documents/s", stage="documents", code_version="1", parameters={}, fingerprints=(), shards=(), report=report
    )
    if not fails:
        check_bad_fraction("s", manifest, limit)
        return
    with pytest.raises(dg.Failure, match="rows"):
        check_bad_fraction("s", manifest, limit)


@pytest.mark.parametrize(("retryable", "kind"), [(True, dg.RetryRequested), (False, dg.Failure)])
def test_the_networks_failures_are_tried_again_and_ours_are_not(retryable, kind):
    from codeft_assets.defs.run_stage import upstream_failure
    from codeft_assets.origins.errors import MissingUpstreamError, UnreachableUpstreamError

    error = UnreachableUpstreamError("down") if retryable else MissingUpstreamError("gone")
    assert isinstance(upstream_failure(error), kind)
