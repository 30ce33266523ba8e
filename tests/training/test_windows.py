"""Packing holds one window of a corpus at a time, and loses nothing between windows."""

import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from codeft_training.data import windows
from codeft_training.data.corpus import Corpus
from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.packing import pack
from tests.training.corpus_folder import default_rows, plain, write_corpus
from tests.training.test_packing import packed_tokens


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(windows, "WINDOW_SPANS", 7)


def test_windows_change_neither_the_tokens_nor_the_counts(tmp_path, made, small_windows):
    rows = [row | {"epochs": 1 + i % 3, "annealing_epochs": i % 2} for i, row in enumerate(default_rows())]
    corpus = Corpus(write_corpus(tmp_path / "corpus", rows))
    many = pack(corpus, made / "tokenizer", tmp_path / "many", context_tokens=64, fim_rate=0.5)["splits"]
    windows.WINDOW_SPANS = 10_000
    one = pack(corpus, made / "tokenizer", tmp_path / "one", context_tokens=64, fim_rate=0.5)["splits"]
    rows_of = {"num_rows", "num_annealing_rows", "fill_fraction", "num_loss_tokens"}
    assert one["train"]["num_infilled_spans"] > 0
    for split in ("train", "validation"):
        assert {k: v for k, v in many[split].items() if k not in rows_of} == {
            k: v for k, v in one[split].items() if k not in rows_of
        }
        assert pieces(tmp_path / "many", split) == pieces(tmp_path / "one", split)


def pieces(folder, split):
    return {
        document: sorted((place, sorted(tokens)) for place, tokens in at.items())
        for document, at in packed_tokens(folder, split).items()
    }


def test_annealing_rows_are_the_last_ones_of_all_windows(tmp_path, made, small_windows):
    rows = [plain(i, epochs=2, annealing=1) for i in range(30)]
    corpus = Corpus(write_corpus(tmp_path / "corpus", rows))
    train = pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64)["splits"]["train"]
    index = pq.read_table(tmp_path / "packed" / "train.index.parquet")
    first = train["num_rows"] - train["num_annealing_rows"]
    is_last = index["row"].to_numpy() >= first
    lengths = index["length"].to_numpy()
    assert lengths[is_last].sum() == lengths[~is_last].sum()
    assert set(index["row"].to_numpy().tolist()) == set(range(train["num_rows"]))
    assert PackedRows(tmp_path / "packed").tokens("train").shape == (train["num_rows"], 64)


PACK = """
import resource, sys
from pathlib import Path
from codeft_training.data.corpus import Corpus
from codeft_training.data import windows
from codeft_training.data.packing import pack
windows.WINDOW_SPANS = 4096
pack(Corpus(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]), context_tokens=64)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kilobytes(*arguments):
    # a shell between: what a child is reported to use is at least what its parent does
    command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", PACK, *map(str, arguments)]
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def test_the_memory_of_packing_does_not_grow_with_the_documents(tmp_path, made):
    peaks = []
    for num_documents in (10_000, 50_000):
        rows = [plain(i, lines=1) for i in range(num_documents)]
        corpus = write_corpus(tmp_path / f"corpus {num_documents}", rows)
        peaks.append(peak_kilobytes(corpus, made / "tokenizer", tmp_path / f"packed {num_documents}"))
    grown = 1000 * (peaks[1] - peaks[0]) / 40_000
    assert grown < 500, f"{np.array(peaks) / 1000} MB: {grown:.0f} bytes a document"
