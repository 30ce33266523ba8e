"""Exports a checkpoint or the corpus to a folder as the Hub expects it: files and card; nothing leaves this machine.

``push`` sends such a folder, only when it is called for, to a private repository of the owner of ``HF_TOKEN``.
Invariant: an export has the bytes that its run or table wrote. The rows of a dataset folder are counted against the
table's manifest.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft_assets.base.files import file_hash, replacing_folder
from codeft_training.data.corpus import SPLITS, Corpus
from codeft_training.export.dataset_card import dataset_card
from codeft_training.export.model_card import model_card

if TYPE_CHECKING:
    import pyarrow as pa

_FILE_BYTES = 256 * 2**20
"""The Hub's viewer reads files of this size at once; larger ones are cut."""


def export_model(run: Path, output: Path, *, scores: str = "", gguf: bool = True) -> dict[str, Any]:
    """Write a Hub model folder and return its files with their sizes in bytes.

    It holds the checkpoint's files, ``model.gguf``, ``curves.png`` and a card with the run's lineage and its scores.

    Args:
        run: A folder that training finished: ``checkpoint/``, ``result.json``, ``metrics.jsonl``, ``lineage.json``.
        output: The folder to write; it is replaced.
        scores: Markdown about this very checkpoint; empty when it was not scored.
        gguf: Whether to write ``model.gguf``.

    Raises:
        ValueError: the run is not finished, its weights changed since, or GGUF cannot hold this model.
    """
    result = _finished_result(run)
    lineage = json.loads((run / "lineage.json").read_text()) if (run / "lineage.json").is_file() else {}
    with replacing_folder(output) as folder:
        shutil.copytree(run / "checkpoint", folder, dirs_exist_ok=True)
        if gguf:
            from codeft_training.export.gguf import write_gguf

            write_gguf(run / "checkpoint", folder / "model.gguf", name=f"codeFT {result['recipe']['name']}")
        _draw_curves(run / "metrics.jsonl", folder / "curves.png")
        card = model_card(result, lineage, scores=scores, curves="curves.png", gguf="model.gguf" if gguf else "")
        (folder / "README.md").write_text(card)
    return _file_sizes(output)


def _finished_result(run: Path) -> dict[str, Any]:
    path, weights = run / "result.json", run / "checkpoint" / "model.safetensors"
    if not path.is_file() or not weights.is_file():
        raise ValueError(f"{str(run)!r} holds no finished run (result.json, checkpoint/); materialize model/checkpoint")
    result = json.loads(path.read_text())
    if file_hash(weights) != result["weights_hash"]:
        raise ValueError(f"{str(weights)!r} is not the file its run wrote; materialize model/checkpoint again")
    return result


def export_corpus(corpus: Corpus, output: Path, *, lineage: dict[str, Any]) -> dict[str, Any]:
    """Write a Hub dataset folder that ``datasets.load_dataset`` reads, and return its files with their sizes in bytes.

    Args:
        corpus: The mixture; each of its columns is one of the dataset.
        output: The folder to write; it is replaced.
        lineage: Sources with revision, license and counts, and drops by reason, for the card.

    Raises:
        ValueError: the table is not there, or a shard holds other rows than its manifest says.
    """
    manifest = corpus.manifest()
    with replacing_folder(output) as folder:
        (folder / "data").mkdir()
        num_rows = {split: _write_split(_batches(corpus, split), folder / "data", split) for split in SPLITS}
        expected = sum(shard["num_rows"] for shard in manifest["shards"])
        if sum(num_rows.values()) != expected:
            raise ValueError(
                f"corpus {str(corpus.folder)!r} says {expected} rows, its splits {SPLITS} have {num_rows}; materialize "
                f"corpus/mixture again"
            )
        present = {split: n for split, n in num_rows.items() if n}
        (folder / "README.md").write_text(dataset_card(manifest, lineage, present, _schema(corpus)))
    return _file_sizes(output)


def _schema(corpus: Corpus) -> pa.Schema:
    import pyarrow.parquet as pq

    return pq.read_schema(corpus.folder / corpus.manifest()["shards"][0]["path"])


def _batches(corpus: Corpus, split: str) -> Iterator[pa.Table]:
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    for shard in corpus.manifest()["shards"]:
        yield pq.read_table(corpus.folder / shard["path"]).filter(ds.field("split") == split)


def _write_split(batches: Iterator[pa.Table], folder: Path, split: str) -> int:
    """Write files of at most about ``_FILE_BYTES`` each and return the number of rows."""
    import pyarrow.parquet as pq

    writer, num_files, num_rows = None, 0, 0
    for table in batches:
        if not table.num_rows:
            continue
        path = folder / f"{split}-{num_files:05d}.parquet"
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
        num_rows += table.num_rows
        if path.stat().st_size >= _FILE_BYTES:
            writer.close()
            writer, num_files = None, num_files + 1
    if writer is not None:
        writer.close()
    return num_rows


def push(folder: Path, repo_id: str, *, repo_type: str) -> str:
    """Send an exported folder to the Hub as one commit and return the commit's address.

    A repository that does not exist is made, private: what may be published is for a person to decide, source by
    source.

    Raises:
        ValueError: ``HF_TOKEN`` is not set, or ``folder`` was not exported.
    """
    from huggingface_hub import HfApi

    token = os.environ.get("HF_TOKEN")
    if not token:
        raise ValueError(f"pushing to {repo_id!r} needs HF_TOKEN, a token with write access; set it, or do not push")
    if not (folder / "README.md").is_file():
        raise ValueError(f"{str(folder)!r} has no README.md: export it first")
    api = HfApi(token=token)
    api.create_repo(repo_id, repo_type=repo_type, private=True, exist_ok=True)
    done = api.upload_folder(
        repo_id=repo_id, repo_type=repo_type, folder_path=folder, commit_message=f"codeFT export of {folder.name}"
    )
    return str(done.commit_url)


def _file_sizes(folder: Path) -> dict[str, int]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}


def _draw_curves(metrics: Path, output: Path) -> None:
    """Draw training loss and held-out bits per byte over the steps, side by side."""
    from matplotlib.figure import Figure

    entries = [json.loads(line) for line in metrics.read_text().splitlines()]
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes: Sequence[Any] = figure.subplots(1, 2)
    for place, names, label in (
        (axes[0], ["loss"], "training loss, nats a token"),
        (axes[1], sorted({name for entry in entries for name in entry if "bits_per_byte" in name}), "bits a byte"),
    ):
        for name in names:
            points = [(entry["step"], entry[name]) for entry in entries if name in entry]
            place.plot([step for step, _ in points], [value for _, value in points], label=name)
        place.set_xlabel("step")
        place.set_title(label, fontsize=9)
    if axes[1].lines:
        axes[1].legend(fontsize=7)
    figure.savefig(output, dpi=120)
