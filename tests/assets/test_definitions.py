"""The code location as a whole: light to load, every asset described and named as its key, the graph complete."""

import logging
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from codeft_assets.base import markdown
from codeft_assets.definitions import defs
from codeft_assets.defs import run_stage
from codeft_assets.defs.assets.scores import PRESENT
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.origins.errors import MissingUpstreamError, UnreachableUpstreamError
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


@pytest.mark.parametrize("key", sorted(GRAPH.materializable_asset_keys), ids=lambda key: key.to_user_string())
def test_an_assets_function_has_the_name_of_its_key(key):
    """The last part; where one function makes an asset per source or benchmark, the first."""
    function = defs.resolve_assets_def(key).op.compute_fn.decorated_fn.__name__
    family = key.path[-1] in {*SOURCES, *(benchmark.name for benchmark in PRESENT)}
    assert function == (key.path[0] if family else key.path[-1])


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_flows_from_its_upstream_into_the_corpus(name):
    documents, mixture = dg.AssetKey(["documents", name]), dg.AssetKey(["corpus", "mixture"])
    assert GRAPH.get(documents).parent_keys == {dg.AssetKey(["upstream", name])}
    stages = {stage for stage in GRAPH.get(documents).child_keys if mixture in downstream(stage)}
    wanted = ("quality/signals", "dedup/signatures", "decontamination/matches", "corpus/ledger")
    assert {dg.AssetKey(stage.split("/")) for stage in wanted} <= stages


def downstream(key):
    found, waiting = set(), [key]
    while waiting:
        children = GRAPH.get(waiting.pop()).child_keys - found
        found |= children
        waiting += children
    return found


def test_no_group_feeds_one_above_it():
    """But for packing, which needs the model's tokenizer."""
    order = ("upstream", "sources", "quality", "decontamination", "dedup", "corpus", "model", "scores")
    rank = {key: order.index(GRAPH.get(key).group_name) for key in GRAPH.get_all_asset_keys()}
    upward = {
        (parent.to_user_string(), key.to_user_string())
        for key in rank
        for parent in GRAPH.get(key).parent_keys
        if rank[parent] > rank[key]
    }
    assert upward == {("model/tokenizer", "corpus/packed")}


def test_every_field_of_the_launchpad_is_described():
    for node in defs.resolve_implicit_global_asset_job_def().nodes:
        schema = node.definition.config_schema
        fields = getattr(schema.config_type, "fields", {}) if schema else {}
        assert all(field.description for field in fields.values()), node.name


def test_training_and_scoring_take_turns_on_the_gpu():
    job = defs.resolve_implicit_global_asset_job_def()
    pools = {node.definition.name: node.definition.pool for node in job.nodes}
    assert {pools["model__checkpoint"], pools["scores__embedded"]} == {"gpu"}


@pytest.mark.parametrize("text", ["```\nbreak out\n```", "````", "<script>alert(1)</script>", "a" * 3000])
def test_a_document_cannot_leave_its_fence(text):
    fence, *_, last = md.excerpt(text).split("\n")
    assert last == fence.removesuffix("text")
    assert last not in text


def test_a_cell_cannot_carry_markup_or_end_its_row():
    assert markdown.cell("a|b\n<img src=x onerror=y> `code`") == "a&#124;b &lt;img src=x onerror=y> 'code'"


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


@pytest.mark.parametrize(
    ("error", "warned"),
    [
        (UnreachableUpstreamError("down"), [f"down; asked again in 0 s, time {number} of 3" for number in (1, 2, 3)]),
        (MissingUpstreamError("gone"), []),
    ],
)
def test_the_networks_failures_are_tried_again_with_a_word_and_ours_are_not(error, warned, monkeypatch):
    monkeypatch.setattr(run_stage, "RETRY_WAIT_SECONDS", 0)
    said = []

    @dg.logger
    def collected(_):
        logger = logging.Logger("collected")
        logger.addFilter(lambda record: said.append(record) or False)
        return logger

    @dg.asset
    def source(context):
        raise run_stage.upstream_failure(error, context)

    defs = dg.Definitions(assets=[source], loggers={"collected": collected})
    job = defs.resolve_implicit_global_asset_job_def()
    job.execute_in_process(run_config={"loggers": {"collected": {"config": {}}}}, raise_on_error=False)
    messages = [record.getMessage().split(" - ", 3)[-1] for record in said if record.levelno == logging.WARNING]
    assert messages == warned
