"""Packs documents into rows of one length: best fit, splitting instead of cropping, every token of plain text kept.

A row holds pieces of documents; a document longer than a row is cut into several pieces. Cropping best-fit packers kept
17.7 % of a long-document corpus (measured); this one keeps all. A conversation is never divided to fill a row; one that
is longer than a row goes by a policy of its own (``conversations``).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codeft_assets.base.files import file_hash, replacing_folder
from codeft_training.data.conversations import LONG_CONVERSATION_POLICIES, ConversationFitter
from codeft_training.data.corpus import SPLITS, Corpus
from codeft_training.data.encoding import EncodingOptions, encode_documents, load_tokenizer
from codeft_training.data.row_groups import GroupCounter, split_readings
from codeft_training.data.row_writer import RowWriter
from codeft_training.data.tokenizer import FIM_PREFIX
from codeft_training.data.vocabulary import vocabulary_of
from codeft_training.data.windows import Window, write_windows

if TYPE_CHECKING:
    import pyarrow as pa

PACKING_VERSION = "6"
"""Counts up when the same corpus packs into other rows; a test compares it with the code that packs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReport:
    """Counts of one split; ``num_tokens`` are all in the rows."""

    num_documents: int
    num_readings: int
    """Documents, or spans of infilled ones, with repetitions."""
    num_infilled_spans: int
    num_tokens: int
    num_loss_tokens: int
    num_rows: int
    num_annealing_rows: int
    """The last rows: read in the annealing phase only."""
    fill_fraction: float
    tokens_by_source: dict[str, int]
    long_conversations: dict[str, dict[str, int]]
    """By source: conversations longer than a row, and tokens that were repeated and left out for them."""
    groups: list[dict[str, Any]]
    """Rows by what their documents have in common (``row_groups``); none where rows were packed together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackingOptions(EncodingOptions):
    """Options of the way from documents to rows."""

    long_conversations: str = "split"
    """One of ``LONG_CONVERSATION_POLICIES``: what becomes of conversations longer than a row."""

    grouped: bool = False
    """Whether a row holds documents of one source, domain, format and language only, for the stages of a recipe."""
    sources: tuple[str, ...] = ()
    """Only documents of these sources, formats and languages are packed; () is all of them."""
    formats: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()

    @property
    def selection(self) -> dict[str, list[str]]:
        """The documents' columns that must have one of some values."""
        wanted = {"source": self.sources, "format": self.formats, "language": self.languages}
        return {column: list(values) for column, values in wanted.items() if values}

    def selects(self, document: Mapping[str, Any]) -> bool:
        """Return whether a document is packed."""
        return all(document[column] in values for column, values in self.selection.items())

    def __post_init__(self) -> None:
        EncodingOptions.__post_init__(self)
        if self.long_conversations not in LONG_CONVERSATION_POLICIES:
            raise ValueError(
                f"long_conversations {self.long_conversations!r} must be one of {LONG_CONVERSATION_POLICIES}"
            )


def pack(corpus: Corpus, tokenizer_folder: Path, output: Path, **settings: Any) -> dict[str, Any]:
    """Write the packed rows of both splits and return the manifest; does nothing if they are up to date.

    The folder holds per split ``<split>.tokens.bin`` (uint16 or uint32, rows × context), ``<split>.loss.bin`` (uint8)
    and ``<split>.index.parquet`` (row, start, length, document_id, source, domain, document_start). A row is padded
    with token 0, without loss.

    Args:
        corpus: The mixture.
        tokenizer_folder: A folder with ``tokenizer.json``.
        output: The folder to write; it appears complete or not at all.
        settings: Fields of ``PackingOptions``.

    Raises:
        ValueError: an option is out of range, or the training split is empty.
    """
    options = PackingOptions(**settings)
    identity = _identity(corpus, tokenizer_folder, options)
    if is_current(output, identity):
        return json.loads((output / "manifest.json").read_text())
    with replacing_folder(output) as temporary:
        manifest = _write_splits(corpus, tokenizer_folder, temporary, options) | {"identity": identity}
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
    return manifest


def _identity(corpus: Corpus, tokenizer_folder: Path, options: PackingOptions) -> str:
    settings = json.dumps(asdict(options), sort_keys=True)
    parts = (PACKING_VERSION, corpus.content_hash, file_hash(tokenizer_folder / "tokenizer.json"), settings)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def is_current(output: Path, identity: str) -> bool:
    """Return whether ``output`` holds the complete rows of ``identity``."""
    path = output / "manifest.json"
    if not path.is_file():
        return False
    manifest = json.loads(path.read_text())
    files = manifest["files"]
    return manifest["identity"] == identity and all(
        (output / name).is_file() and file_hash(output / name) == digest for name, digest in files.items()
    )


def _write_splits(corpus: Corpus, tokenizer_folder: Path, folder: Path, options: PackingOptions) -> dict[str, Any]:
    tokenizer = load_tokenizer(tokenizer_folder)
    fitter = ConversationFitter(tokenizer, options.context_tokens, options.long_conversations)
    vocab_size = tokenizer.get_vocab_size()
    dtype = np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32)
    fim_prefix = tokenizer.token_to_id(FIM_PREFIX)
    splits = {}
    for split in SPLITS:
        encoded = encode_documents(filter(options.selects, corpus.documents(split)), tokenizer, options)
        windows = write_windows(fitter.fit(encoded), folder / ".windows", dtype)
        if split == "train" and not windows:
            chosen = f" with {options.selection}" if options.selection else ""
            raise ValueError(
                f"corpus {str(corpus.folder)!r} has no training documents{chosen}; look at corpus/ledger for why"
            )
        with RowWriter(folder, split, dtype=dtype, context_tokens=options.context_tokens) as writer:
            is_grouped = options.grouped and split == "train"  # validation is the same for every recipe
            splits[split] = asdict(_write_rows(windows, writer, fim_prefix, grouped=is_grouped))
        shutil.rmtree(folder / ".windows")
    files = {path.name: file_hash(path) for path in sorted(folder.iterdir())}
    groups = splits["train"]["groups"]
    content = "\n".join([*(f"{name} {digest}" for name, digest in files.items()), *map(json.dumps, groups)])
    return {
        "content_hash": hashlib.sha256(content.encode()).hexdigest(),
        "context_tokens": options.context_tokens,
        "options": {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(options).items()
        },
        "selection": options.selection,
        "token_type": dtype.name,
        "vocab_size": vocab_size,
        "vocabulary_hash": vocabulary_of(tokenizer).hash,
        "corpus_content_hash": corpus.content_hash,
        "files": files,
        "splits": splits,
    }


def _write_rows(windows: Sequence[Window], writer: RowWriter, fim_prefix: int | None, *, grouped: bool) -> SplitReport:
    groups, num_broad_rows = GroupCounter(), 0
    for phase in ("broad", "annealing"):  # packed apart: a row belongs to one of them
        num_broad_rows = writer.num_rows
        for window in windows:
            spans = window.spans()
            readings = _readings(spans, annealing=phase == "annealing")
            for key, chosen in split_readings(spans, readings, phase, grouped=grouped):
                first, num_tokens = writer.num_rows, writer.counts["num_tokens"]
                writer.write(window, spans, chosen, marker=fim_prefix)
                groups.add(key, first, writer.num_rows, writer.counts["num_tokens"] - num_tokens)
    counts = writer.counts
    num_documents, by_source, long = _span_counts(windows)
    return SplitReport(
        num_documents=num_documents,
        num_readings=counts["num_readings"],
        num_infilled_spans=counts["num_marked"],
        num_tokens=counts["num_tokens"],
        num_loss_tokens=counts["num_loss_tokens"],
        num_rows=writer.num_rows,
        num_annealing_rows=writer.num_rows - num_broad_rows,
        fill_fraction=counts["num_tokens"] / max(writer.num_rows * writer.context_tokens, 1),
        tokens_by_source=dict(sorted(by_source.items())),
        long_conversations={source: dict(found) for source, found in sorted(long.items())},
        groups=groups.records() if grouped else [],
    )


def _readings(spans: pa.Table, *, annealing: bool) -> npt.NDArray[np.int64]:
    last = spans["annealing"].to_numpy()
    return np.repeat(np.arange(len(last)), last if annealing else spans["epochs"].to_numpy() - last)


def _span_counts(windows: Sequence[Window]) -> tuple[int, Counter[str], dict[str, dict[str, int]]]:
    """Return the number of documents, tokens by source, and the long conversations of each source."""
    import pyarrow as pa
    import pyarrow.compute as pc

    num_documents, by_source, long = 0, Counter[str](), defaultdict[str, Counter[str]](Counter)
    last = None
    for window in windows:
        spans = window.spans()
        if ids := spans.filter(pc.field("length") > 0)["document_id"].unique().to_pylist():
            num_documents += len(ids) - (ids[0] == last)  # its spans are together, but not always in one window
            last = ids[-1]
        spans = spans.append_column("read", pa.array(spans["length"].to_numpy() * spans["epochs"].to_numpy()))
        by_source.update({row["source"]: row["read_sum"] for row in _sums(spans, ["read"])})
        for row in _sums(spans.filter(pc.field("long") > 0), [*_LONG.values()]):
            long[row["source"]].update({name: row[f"{column}_sum"] for name, column in _LONG.items()})
    return num_documents, by_source, {source: dict(counts) for source, counts in long.items()}


_LONG = {"num_conversations": "long", "num_tokens_repeated": "repeated", "num_tokens_left_out": "left_out"}


def _sums(spans: pa.Table, columns: list[str]) -> list[dict[str, Any]]:
    return spans.group_by("source").aggregate([(column, "sum") for column in columns]).to_pylist()
