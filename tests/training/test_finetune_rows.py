"""Fine-tuning sees what it should: each document alone, and every row of the embedding that its text needs."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from codeft_training.data.batches import document_positions
from codeft_training.data.packed_rows import PackedRows
from codeft_training.train.lora import added_tokens_in
from codeft_training.train.row_dataset import RowCollator, row_dataset
from codeft_training.train.run import train
from tests.training.children import Collected, finetuning_run, training_run


@pytest.fixture(scope="module")
def base(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("base")
    train(training_run(made, output, max_steps=2), Collected())
    return output / "checkpoint"


def fine_tuned(made, base, output, **changes):
    """Return the trainer that a run uses, its first batch, and the model before any step."""
    from transformers import AutoTokenizer

    from codeft_training.model.schedule import build_schedule
    from codeft_training.train.finetune import _arguments
    from codeft_training.train.run import initial_model
    from codeft_training.train.trl_adapter import GuardedTrainer, TrlAdapter

    recipe, packed = finetuning_run(made, base, output, **changes).recipe, PackedRows(made / "packed")
    return GuardedTrainer(
        TrlAdapter(None, schedule=build_schedule(recipe.schedule), checkpoint_files=(), bf16=False),
        model=initial_model(recipe),
        args=_arguments(recipe, output, recipe.data.batch_rows),
        train_dataset=row_dataset(packed, recipe, (0,)),
        data_collator=RowCollator(packed),
        processing_class=AutoTokenizer.from_pretrained(made / "tokenizer"),
    )


def pieces_by_row(made):
    found = {}
    for piece in pq.read_table(made / "packed" / "train.index.parquet").to_pylist():
        found.setdefault(piece["row"], []).append((piece["start"], piece["length"]))
    return found


def test_rows_give_the_loss_of_their_documents_one_by_one(made, base, tmp_path):
    trainer, by_row = fine_tuned(made, base, tmp_path), pieces_by_row(made)
    rows = [row for row, pieces in by_row.items() if len(pieces) > 2][:4]
    batch = trainer.data_collator([{"row": row} for row in rows])
    labels = batch["labels"].clone()
    with torch.no_grad():
        together = float(trainer.compute_loss(trainer.model, dict(batch)))
    losses, tokens = 0.0, batch["input_ids"]
    for i, row in enumerate(rows):
        for start, length in by_row[row]:
            part = slice(start, start + length)
            with torch.no_grad():
                logits = trainer.model(input_ids=tokens[i : i + 1, part]).logits[0, :-1]
            wanted = labels[i, part][1:]
            losses += float(torch.nn.functional.cross_entropy(logits, wanted, ignore_index=-100, reduction="sum"))
    assert together == pytest.approx(losses / int((labels[:, 1:] != -100).sum()), abs=1e-6)


def write_rows(folder, num_rows, context_tokens=64, piece_tokens=8):
    """Write packed rows of pieces of equal length, as ``pack`` does."""
    folder.mkdir()
    np.zeros((num_rows, context_tokens), np.uint16).tofile(folder / "train.tokens.bin")
    np.ones((num_rows, context_tokens), np.uint8).tofile(folder / "train.loss.bin")
    row, start = np.divmod(np.arange(0, num_rows * context_tokens, piece_tokens), context_tokens)
    columns = {"row": row, "start": start, "length": np.full(len(row), piece_tokens)}
    pq.write_table(pa.table(columns), folder / "train.index.parquet", row_group_size=50_000)
    splits = {"train": {"num_rows": num_rows, "num_annealing_rows": 0}}
    manifest = {"context_tokens": context_tokens, "token_type": "uint16", "splits": splits, "files": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


READ = """
import sys
from pathlib import Path
import torch
from codeft_training.data.packed_rows import PackedRows
from codeft_training.train.row_dataset import RowCollator
packed = PackedRows(Path(sys.argv[1]))
collate = RowCollator(packed)
num_rows = packed.manifest()["splits"]["train"]["num_rows"]
for row in range(0, num_rows, num_rows // 100):
    collate([{"row": row}])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("RssAnon")))
"""


def anonymous_bytes(folder):
    command = [sys.executable, "-c", READ, str(folder)]
    return 1024 * int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_the_memory_of_fine_tuning_rows_does_not_grow_with_them(tmp_path):
    counts = (100_000, 400_000)  # both above Arrow's own buffers
    few, many = (anonymous_bytes(write_rows(tmp_path / str(rows), rows)) for rows in counts)
    grown = (many - few) / (300_000 * 64)
    assert grown < 0.25, f"{grown:.2f} bytes a token"


def test_rows_are_looked_up_in_any_order(tmp_path):
    starts = PackedRows(write_rows(tmp_path / "rows", 5, context_tokens=6, piece_tokens=4)).starts("train")
    assert starts[[2, 0, 1]].tolist() == [[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 1, 0], [0, 0, 1, 0, 0, 0]]


def test_positions_begin_again_with_each_piece():
    starts = np.array([[1, 0, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0]], dtype=np.uint8)
    assert document_positions(starts).tolist() == [[0, 1, 2, 0, 0, 1], [0, 1, 2, 3, 4, 5]]


def test_validation_sees_documents_apart_as_training_does(made, base, tmp_path):
    from codeft_training.measure.evaluation import build_evaluator

    run = finetuning_run(made, base, tmp_path)
    evaluator, seen = build_evaluator(run.packed, run.tokenizer, None, run.recipe), []

    def token_nats(ids, labels, positions=None):
        seen.append(positions)
        return np.ones(ids.shape, dtype=np.float32)

    list(evaluator.measure(1, token_nats, 4))
    starts = run.packed.starts("validation")[np.arange(len(run.packed.tokens("validation")))]
    assert np.concatenate(seen).tolist() == document_positions(starts).tolist()


def test_the_rate_is_that_of_our_own_loop(made, base, tmp_path):
    changes = {"max_steps": 10, "warmup_fraction": 0.2, "decay_fraction": 0.4, "learning_rate": 1e-3}
    rates = []
    for run in (
        training_run(made, tmp_path / "own", **changes),
        finetuning_run(made, base, tmp_path / "trl", **changes),
    ):
        reporter = Collected()
        train(run, reporter)
        rates.append([entry["learning_rate"] for entry in reporter.observed if "loss" in entry])
    assert rates[1] == pytest.approx(rates[0])
    assert rates[0][0] > 0


def test_no_weight_decay_reaches_embeddings_and_norms(made, base, tmp_path):
    trainer = fine_tuned(made, base, tmp_path)
    decayed = set(trainer.get_decay_parameter_names(trainer.model))
    assert decayed == {name for name, _ in trainer.model.named_parameters() if "_proj" in name}


@pytest.fixture(scope="module")
def untied(base, tmp_path_factory):
    """The base with an output layer of its own."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("untied")
    model = AutoModelForCausalLM.from_pretrained(base)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone() + 0.01)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("shares_weights", [True, False])
def test_lora_trains_the_rows_of_added_tokens_that_the_text_has(made, base, untied, tmp_path, shares_weights):
    from safetensors.torch import load_file

    start = base if shares_weights else untied
    tokens = added_tokens_in(PackedRows(made / "packed"), made / "tokenizer")
    assert tokens == [0, 1, 2]  # end of text, start and end of a turn; nothing was infilled, nobody thought
    run = finetuning_run(made, start, tmp_path, lora_rank=2, learning_rate=0.03)
    train(run, Collected())
    before, after = (load_file(folder / "model.safetensors") for folder in (start, tmp_path / "checkpoint"))
    changed = {
        name: (before[name] != after[name]).any(dim=1).nonzero().flatten().tolist()
        for name in before
        if "embed_tokens" in name or "lm_head" in name
    }
    read = {"model.embed_tokens.weight": [1, 2]}  # the end of a text is predicted, and nothing after it sees it
    assert changed == ({"model.embed_tokens.weight": tokens} if shares_weights else read | {"lm_head.weight": tokens})


@pytest.mark.parametrize("shares_weights", [True, False])
def test_the_merged_checkpoint_gives_the_logits_of_the_adapted_model(
    made, base, untied, tmp_path, monkeypatch, shares_weights
):
    from transformers import AutoModelForCausalLM

    from codeft_training.train.trl_adapter import TrlAdapter

    tokens, found = torch.tensor([[1, 80, 90, 2, 1, 100, 2, 0]]), []
    end = TrlAdapter.on_train_end

    def with_logits(self, *rest, **more):
        with torch.no_grad():
            found.append(self.model(input_ids=tokens).logits)
        return end(self, *rest, **more)

    monkeypatch.setattr(TrlAdapter, "on_train_end", with_logits)
    start = base if shares_weights else untied
    train(finetuning_run(made, start, tmp_path, lora_rank=2, learning_rate=0.03), Collected())
    with torch.no_grad():
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")(input_ids=tokens).logits
    torch.testing.assert_close(merged, found[0], atol=1e-5, rtol=1e-4)
