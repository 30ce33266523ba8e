"""A stage packs the documents of some sources, formats or languages, and says so."""

import pyarrow.parquet as pq
import pytest

from codeft_training.__main__ import main
from codeft_training.data.corpus import Corpus
from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.packing import pack
from codeft_training.run_spec import TrainingRun
from codeft_training.train.run import train
from tests.training.children import Collected, training_run
from tests.training.corpus_folder import default_rows, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    rows = [
        row | {"format": "instruct" if row["messages"] else "raw", "language": "rust" if i % 2 else "python"}
        for i, row in enumerate(default_rows())
    ]
    return Corpus(write_corpus(tmp_path_factory.mktemp("corpus"), rows))


@pytest.mark.parametrize(
    ("selection", "keeps"),
    [
        ({"sources": ("chat",)}, lambda row: row["source"] == "chat"),
        ({"formats": ("raw",)}, lambda row: row["format"] == "raw"),
        ({"languages": ("rust",), "sources": ("chat",)}, lambda row: row["language"] == "rust" and row["messages"]),
    ],
)
def test_only_the_chosen_documents_are_packed(corpus, made, tmp_path, selection, keeps):
    manifest = pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64, **selection)
    for split in ("train", "validation"):
        packed = set(pq.read_table(tmp_path / "packed" / f"{split}.index.parquet")["document_id"].to_pylist())
        assert packed == {row["document_id"] for row in corpus.documents(split) if keeps(row)}
    assert manifest["selection"] == {name.removesuffix("s"): list(values) for name, values in selection.items()}


def test_a_selection_of_nothing_is_refused_and_named(corpus, made, tmp_path):
    with pytest.raises(ValueError, match=r"no training documents with {'source': \['chats'\]}"):
        pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64, sources=("chats",))


def test_the_card_says_of_which_documents_a_model_is_made(corpus, made, tmp_path):
    where = ["--corpus", str(corpus.folder), "--tokenizer", str(made / "tokenizer"), "--output", str(tmp_path / "p")]
    assert main(["pack", *where, "--set", "context_tokens=64", "--sources", "chat", "--formats", "instruct"]) == 0
    recipe = training_run(made, tmp_path, max_steps=2).recipe
    run = TrainingRun(
        packed=PackedRows(tmp_path / "p"), tokenizer=made / "tokenizer", output=tmp_path, recipe=recipe, lineage={}
    )
    assert train(run, Collected())["selection"] == {"source": ["chat"], "format": ["instruct"]}
    card = (tmp_path / "checkpoint" / "README.md").read_text()
    assert "of a part of the corpus only: format instruct; source chat." in card
