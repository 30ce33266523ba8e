"""Stages: one run, each part of it with a mixture and a rate of its own, resumed between and within them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from codeft_training.__main__ import main
from codeft_training.data.corpus import Corpus
from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.packing import pack
from codeft_training.data.row_groups import group_shares, read_groups
from codeft_training.data.row_order import StageOrder
from codeft_training.data.variation import build_variation
from codeft_training.model.schedule import MIN_DECAY_STEPS, build_schedule
from codeft_training.recipe_groups import ScheduleConfig
from codeft_training.recipe_stages import ROW_COLUMNS, Stage
from codeft_training.train.checkpoints import WEIGHTS
from codeft_training.train.row_dataset import row_dataset
from codeft_training.train.run import train
from tests.training.children import Bombs, Collected, eight_kills, finetuning_run, training_run
from tests.training.corpus_folder import default_rows, write_corpus

pytestmark = pytest.mark.usefixtures("one_thread")

BROAD = {"name": "broad", "share": 0.5, "mixture": {"source=plain": 1.0}}
ANNEAL = {
    "name": "anneal",
    "share": 0.25,
    "end_rate": 0.5,
    "mixture": {"source=chat": 0.75, "domain=math": 0.25},
}
CHAT = {"name": "chat", "share": 0.25, "start_rate": 0.2, "end_rate": 0.0, "mixture": {"format=instruct": 1}}
STAGES = {"stages": (BROAD, ANNEAL, CHAT), "decay_fraction": 0.0}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    rows = [row | {"format": "instruct" if row["messages"] else "raw"} for row in default_rows()]
    return Corpus(write_corpus(tmp_path_factory.mktemp("corpus"), rows))


@pytest.fixture(scope="module")
def packed(corpus, made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed") / "rows"
    pack(corpus, made / "tokenizer", folder, context_tokens=64, grouped=True)
    return PackedRows(folder)


@pytest.fixture(scope="module")
def base(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("base")
    train(training_run(made, output, max_steps=2, num_layers=2), Collected())
    return output / "checkpoint"


def documents_by_row(packed):
    import pyarrow.parquet as pq

    found = {}
    for piece in pq.read_table(packed.folder / "train.index.parquet").to_pylist():
        found.setdefault(piece["row"], set()).add(piece["document_id"])
    return found


def test_a_row_holds_documents_of_one_group_and_the_groups_are_all_rows(packed, corpus):
    documents = {document["document_id"]: document for document in corpus.documents("train")}
    split, owners = packed.manifest()["splits"]["train"], documents_by_row(packed)
    for group in read_groups(split):
        for row in group.rows.tolist():
            for document in owners[row]:
                assert {c: documents[document][c] for c in ROW_COLUMNS[:-1]} | {"phase": "broad"} == group.columns
    groups = read_groups(split)
    assert sorted(np.concatenate([group.rows for group in groups]).tolist()) == list(range(split["num_rows"]))
    assert sum(group.num_tokens for group in groups) == split["num_tokens"]


def test_every_stretch_of_a_stage_has_the_groups_in_their_shares_and_reads_all_rows_before_one_twice():
    groups = [np.arange(0, 50), np.arange(50, 53), np.arange(53, 100)]
    shares = [np.array([0.5, 0.2, 0.3]), np.array([0.0, 0.9, 0.1])]
    order, begins = StageOrder(groups, shares, seed=1), (0, 70)
    rows = order.rows(0, 100, begins)
    assert np.concatenate([order.rows(i, i + 5, begins) for i in range(0, 100, 5)]).tolist() == rows.tolist()
    for first in range(0, 60, 10):
        found = np.bincount(np.searchsorted([50, 53], rows[first : first + 10], side="right"), minlength=3)
        assert np.abs(found - 10 * shares[0]).max() <= 2
    assert [c.tolist() for c in order.counts([70, 30])] == [[35, 14, 21], [0, 27, 3]]
    small = [row for row in rows.tolist() if 50 <= row < 53]
    for first in range(0, len(small) - 2, 3):  # also across the stages' border
        assert sorted(small[first : first + 3]) == [50, 51, 52]


@pytest.mark.parametrize(
    ("mixture", "wanted"),
    [
        ({}, {"plain code": "natural", "plain math": "natural", "chat reasoning": "natural"}),
        ({"source=chat": 1}, {"chat reasoning": 1.0}),
        ({"source=chat": 3, "*": 1}, {"chat reasoning": 0.75, "plain code": "rest", "plain math": "rest"}),
        ({"domain=code|math": 1, "source=plain,domain=math": 1}, {"plain code": 0.5, "plain math": 0.5}),
        ({"*": 1, "domain=code": 0, "domain=reasoning": 0}, {"plain math": 1.0}),
    ],
)
def test_a_row_goes_by_the_selector_with_the_most_conditions(packed, mixture, wanted):
    groups = read_groups(packed.manifest()["splits"]["train"])
    shares = group_shares(Stage(name="a", share=1, mixture=mixture), groups)
    assert shares.sum() == pytest.approx(1)
    found = {
        f"{g.columns['source']} {g.columns['domain']}": share for g, share in zip(groups, shares, strict=True) if share
    }
    assert found.keys() == wanted.keys()
    total = sum(len(group.rows) for group in groups)
    for group in groups:
        name = f"{group.columns['source']} {group.columns['domain']}"
        if wanted.get(name) == "natural":
            assert found[name] == pytest.approx(len(group.rows) / total)
        elif name in wanted and wanted[name] != "rest":
            assert found[name] == pytest.approx(wanted[name])


def test_a_run_reads_what_its_stages_say(packed, made, tmp_path):
    run = replace(training_run(made, tmp_path, **STAGES), packed=packed)
    order = packed.order(1, run.recipe.schedule.stages)
    begins = tuple(begin * 8 for begin in build_schedule(run.recipe.schedule).begins)
    assert begins == (0, 48, 72)
    groups = read_groups(packed.manifest()["splits"]["train"])
    source = {row: group.columns["source"] for group in groups for row in group.rows.tolist()}
    read = [source[row] for row in order.rows(0, 96, begins).tolist()]
    assert set(read[:48]) == {"plain"}
    assert read[48:72].count("chat") == 18
    assert set(read[72:]) == {"chat"}


@pytest.mark.parametrize("engine", [training_run, finetuning_run])
def test_a_model_of_two_layers_sees_the_documents_of_a_stage_only_after_it_begins(
    packed, made, base, tmp_path, engine, monkeypatch
):
    """The rows that are embedded while a run trains, and no order that a file promises."""
    import torch.nn.functional as F  # noqa: N812

    bases, embed, seen = (base,) if engine is finetuning_run else (), F.embedding, []

    def record(ids, *rest, **options):
        if torch.is_grad_enabled():
            seen.extend(row.tobytes() for row in ids.reshape(-1, 64).numpy().astype(int)[:, :20])
        return embed(ids, *rest, **options)

    shape = {} if bases else {"num_layers": 2}
    run = replace(engine(made, *bases, tmp_path, **shape, **STAGES), packed=packed)
    monkeypatch.setattr(F, "embedding", record)
    train(run, Collected())
    groups, tokens = read_groups(packed.manifest()["splits"]["train"]), packed.tokens("train")
    places = [(group.columns["source"], row) for group in groups for row in group.rows.tolist()]
    source = {tokens[row].astype(int)[:20].tobytes(): name for name, row in places}
    read = [source[row] for row in seen]
    assert len(read) == 96
    assert set(read[:48]) == {"plain"}
    assert set(read[72:]) == {"chat"}


def test_a_base_is_fine_tuned_on_what_the_stages_say(packed, made, base, tmp_path):
    recipe = finetuning_run(made, base, tmp_path, **STAGES).recipe
    rows = row_dataset(packed, recipe, build_schedule(recipe.schedule).begins)["row"]
    wanted = packed.order(1, recipe.schedule.stages).rows(0, 96, (0, 48, 72))
    assert list(rows) == wanted.tolist()


def test_the_rate_follows_the_stages():
    schedule = build_schedule(ScheduleConfig(max_steps=20, warmup_fraction=0.1, **STAGES))
    rates = [schedule.rate(step) for step in range(20)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert set(rates[2:10]) == {1.0}
    assert rates[10:15] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5])
    assert rates[15:] == pytest.approx([0.16, 0.12, 0.08, 0.04, 0])


@pytest.mark.parametrize("engine", ["pretraining", "fine-tuning"])
def test_a_run_killed_between_and_within_stages_ends_in_the_same_bits(packed, made, base, tmp_path, engine):
    def make_run(output):
        changes = STAGES | {"save_every_steps": 1}
        scratch = engine == "pretraining"
        run = training_run(made, output, **changes) if scratch else finetuning_run(made, base, output, **changes)
        return replace(run, packed=packed)

    class Killed(Exception):  # noqa: N818
        pass

    def kill():
        raise Killed

    whole = train(make_run(tmp_path / "whole"), Collected())
    for step in (4, 7, 10, 11):  # stages begin after steps 6 and 9; a step is reported before it is saved
        with pytest.raises(Killed):
            train(make_run(tmp_path / "killed"), Bombs(step, kill))
    reporter = Collected()
    killed = train(make_run(tmp_path / "killed"), reporter)
    assert killed["weights_hash"] == whole["weights_hash"]
    assert killed["stages"] == whole["stages"]
    assert "resuming from checkpoint-10" in reporter.lines
    metrics = [
        [entry["loss"] for entry in map(json.loads, (tmp_path / name / "metrics.jsonl").open()) if "loss" in entry]
        for name in ("whole", "killed")
    ]
    assert metrics[0] == metrics[1]


def test_a_recipe_is_named_once_for_tokenizer_rows_and_checkpoint(corpus, tmp_path):
    small = {"max_steps": 8, "batch_rows": 2, "vocab_size": 320, "context_tokens": 64, "hidden_size": 32}
    small |= {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "intermediate_size": 48, "accumulation_steps": 1}
    small |= {"compile": "off", "bf16": "false", "budget_seconds": 0, "anneal.share": 0.125, "finetune.share": 0.125}
    small |= {"pretrain.share": 0.75, "anneal.mixture": '{"domain=math": 1}', "finetune.mixture": '{"source=chat": 1}'}
    command = ["run", "--corpus", str(corpus.folder), "--output", str(tmp_path), "--recipe", "h200-staged"]
    assert main([*command, *(part for name, value in small.items() for part in ("--set", f"{name}={value}"))]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert [stage["name"] for stage in result["recipe"]["stages"]] == ["pretrain", "anneal", "finetune"]
    manifest = PackedRows(tmp_path / "packed").manifest()
    assert (manifest["context_tokens"], manifest["vocab_size"]) == (64, 320)
    assert {group["source"] for group in manifest["splits"]["train"]["groups"]} == {"plain", "chat"}


@pytest.mark.parametrize(
    ("stages", "rule"),
    [
        ([BROAD], "must add up to 1, not 0.5"),
        ([BROAD, BROAD], "must have different names"),
        ([BROAD | {"steps": 3}], "must have name and share"),
        ([BROAD | {"share": 0}], "share = 0.0 must be positive"),
        ([BROAD | {"mixture": {"owner=me": 1}}], "selector 'owner=me' must be"),
        ([BROAD | {"mixture": {"source": 1}}], "selector 'source' must be"),
        ([BROAD | {"mixture": {"*": -1}}], r"the weight -1 of '\*' must be a number"),
        ([BROAD | {"mixture": {"*": 0}}], "must have a positive weight"),
        ([BROAD | {"share": 0.99}, CHAT | {"share": 0.01}], "less than one"),
    ],
)
def test_stages_that_make_no_run_are_refused(stages, rule):
    with pytest.raises(ValueError, match=rule):
        ScheduleConfig(max_steps=10, decay_fraction=0.0, stages=stages)


def test_a_decay_beside_stages_is_refused():
    with pytest.raises(ValueError, match=r"decay_fraction 0.4 must be 0 in a recipe of stages"):
        ScheduleConfig(stages=[BROAD | {"share": 1}])


def test_a_mixture_that_names_no_rows_is_refused(packed, made, tmp_path):
    stages = {"stages": [BROAD | {"share": 1, "mixture": {"source=other": 1}}], "decay_fraction": 0.0}
    run = replace(training_run(made, tmp_path, **stages), packed=packed)
    with pytest.raises(ValueError, match=r"stage 'broad' weighs 'source=other', .*'source': \['chat', 'plain'\]"):
        train(run, Collected())
    run = training_run(made, tmp_path, **STAGES)
    with pytest.raises(ValueError, match="packed together; materialize corpus/packed with this recipe"):
        train(run, Collected())


def test_a_mixture_that_weighs_rows_twice_is_refused(packed, made, tmp_path):
    stages = {"stages": [BROAD | {"share": 1, "mixture": {"source=plain": 1, "domain=math": 1}}], "decay_fraction": 0.0}
    run = replace(training_run(made, tmp_path, **stages), packed=packed)
    with pytest.raises(ValueError, match="by 'domain=math' and by 'source=plain'; name one more column"):
        train(run, Collected())


@pytest.mark.slow
def test_a_process_killed_eight_times_ends_in_the_same_bits(packed, made, tmp_path):
    def make_run(output):
        run = training_run(made, output, **(STAGES | {"max_steps": 30, "save_every_steps": 1}))
        return replace(run, packed=packed)

    whole = train(make_run(tmp_path / "whole"), Collected())
    lines = eight_kills(make_run(tmp_path / "killed"), seed=3)
    assert sum("resuming from checkpoint-" in line for line in lines) == 8
    result = json.loads((tmp_path / "killed" / "result.json").read_text())
    assert result["weights_hash"] == whole["weights_hash"]
    assert result["stages"] == whole["stages"]


@pytest.mark.parametrize("engine", ["pretraining", "fine-tuning"])
def test_result_and_card_tell_the_stages_that_ran(packed, made, base, tmp_path, engine):
    scratch = engine == "pretraining"
    run = training_run(made, tmp_path, **STAGES) if scratch else finetuning_run(made, base, tmp_path, **STAGES)
    reporter = Collected()
    stages = train(replace(run, packed=packed), reporter)["stages"]
    assert [(stage["name"], stage["num_steps"], stage["num_tokens"]) for stage in stages] == [
        ("broad", 6, 6 * 512), ("anneal", 3, 3 * 512), ("chat", 3, 3 * 512)
    ]  # fmt: skip
    assert "step 7: stage anneal has begun, 75% source=chat, 25% domain=math" in reporter.lines
    assert {"step": 10, "stage": "chat"} in reporter.observed
    order = packed.order(1, run.recipe.schedule.stages)
    groups = read_groups(packed.manifest()["splits"]["train"])
    tokens = {row: (g.columns["source"], g.num_tokens / len(g.rows)) for g in groups for row in g.rows.tolist()}
    read = [tokens[row] for row in order.rows(48, 72, (0, 48, 72)).tolist()]
    for source, number in stages[1]["tokens_by_source"].items():
        assert number == pytest.approx(sum(size for name, size in read if name == source), abs=1)
    assert stages[0]["tokens_by_source"].keys() == {"plain"}
    card = (tmp_path / "checkpoint" / "README.md").read_text()
    begin = "trained from scratch" if scratch else "fine-tuned from checkpoint"
    assert f"{begin} on 6,144 tokens in the stages broad, anneal, chat." in card
    assert run.recipe.about not in card  # what it is for is not what ran
    rate = run.recipe.optimization.learning_rate
    bits = [entry["bits_per_byte"] for entry in reporter.observed if "bits_per_byte" in entry and entry["step"] == 9]
    assert f"| anneal | 3 | 1,536 | {rate:.3g} → {rate / 2:.3g} | {bits[0]:.4f} | 0.75 source=chat, " in card
    assert "| plain | 100.0%, pass" in card


def test_steps_that_read_no_row_are_in_no_sources_count(packed, made, tmp_path):
    run = training_run(made, tmp_path, procedural_fraction=0.25, **STAGES)
    stages = train(replace(run, packed=packed), Collected())["stages"]
    groups = read_groups(packed.manifest()["splits"]["train"])
    tokens = {row: group.num_tokens / len(group.rows) for group in groups for row in group.rows.tolist()}
    read = packed.order(1, run.recipe.schedule.stages).rows(24, 48, (0, 48, 72)).tolist()  # after three of six steps
    assert stages[0]["num_tokens"] == 6 * 512
    assert sum(stages[0]["tokens_by_source"].values()) == pytest.approx(sum(tokens[row] for row in read), abs=1)


def test_a_stage_that_the_clock_left_out_is_not_told(packed, made, tmp_path):
    run = training_run(made, tmp_path, **(STAGES | {"budget_seconds": 1e-6, "max_steps": 1000}))
    stages = train(replace(run, packed=packed), Collected())["stages"]
    assert [stage["name"] for stage in stages] == ["chat"]
    assert stages[0]["num_steps"] == MIN_DECAY_STEPS


def test_a_new_order_of_documents_stays_in_the_groups_that_stages_weigh(packed, made, tmp_path):
    run = replace(training_run(made, tmp_path, document_order="shuffled", **STAGES), packed=packed)
    variation, stages = build_variation(packed, made / "tokenizer", run.recipe), run.recipe.schedule.stages
    order, tokens = packed.order(1, stages), packed.tokens("train").reshape(-1)
    groups = read_groups(packed.manifest()["splits"]["train"])
    group = np.zeros(len(packed.tokens("train")), dtype=int)
    for number, found in enumerate(groups):
        group[found.rows] = number
    readings = order.readings(0, 400, (0, 200, 300))
    source, _ = variation.document_order.sources(readings)
    rows = np.where(source < 0, -1, source // 64)
    for reading, origin in zip(readings % order.num_rows, rows, strict=True):
        assert set(group[origin[origin >= 0]]) == {group[reading]}
    first = [i for i, reading in enumerate(readings) if group[reading % order.num_rows] == len(groups) - 1]
    passes = readings[first] // order.num_rows
    assert passes.tolist() == sorted(passes)
    once = source[first][passes == 0]
    assert len(set(once[once >= 0])) == (once >= 0).sum()  # no token twice in a pass
    assert len(tokens) > len(set(once[once >= 0]))


@pytest.mark.parametrize("engine", ["pretraining", "fine-tuning"])
def test_the_best_weights_of_the_last_stage_are_kept(packed, made, base, tmp_path, engine):
    """The last stage makes held-out text worse, as fine-tuning may: its result is kept all the same."""
    stages = [
        BROAD | {"start_rate": 0.1, "end_rate": 0.1},
        CHAT | {"share": 0.5, "start_rate": 1.0, "end_rate": 1.0},
    ]
    changes = STAGES | {"stages": stages, "validate_every_steps": 4, "learning_rate": 0.3}
    scratch = engine == "pretraining"
    run = training_run(made, tmp_path, **changes) if scratch else finetuning_run(made, base, tmp_path, **changes)
    run, reporter = replace(run, packed=packed), Collected()
    kept = train(run, reporter)["kept"]["step"]
    bits = {entry["step"]: entry["bits_per_byte"] for entry in reporter.observed if "bits_per_byte" in entry}
    assert bits.keys() == {0, 4, 6, 8, 12}
    assert kept == min((8, 12), key=bits.get)
    earlier = min((4, 6), key=bits.get)
    assert bits[earlier] < bits[kept]
    saved, exported = run.work / f"checkpoint-{earlier}" / WEIGHTS, load_file(tmp_path / "checkpoint" / WEIGHTS)
    if saved.exists():  # as it would if it were the one to keep
        assert not all(torch.equal(tensor, exported[name]) for name, tensor in load_file(saved).items())
    card = (tmp_path / "checkpoint" / "README.md").read_text()
    assert f"{bits[kept]:.4f}" in card
