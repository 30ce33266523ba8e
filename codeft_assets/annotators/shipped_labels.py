"""The shipped labels and their documents: files of installed packages, and the embedded sample rows.

Invariant: nothing is fetched. A file that is not installed here, or in another version, is left out and counted.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable
from importlib import metadata, resources
from pathlib import Path

from codeft_assets.curation.documents import folded_hash
from codeft_assets.curation.ingest.rows import adapt_rows
from codeft_assets.curation.quality.labels import Label, LabeledDocuments, parse_labels, resolve_labels
from codeft_assets.origins.sample import SampleOrigin
from codeft_assets.source import Source

INTERPRETER = "cpython"
"""Package name, in a label, of the running interpreter's standard library."""


def shipped_labels() -> list[Label]:
    """Return every label that ships with the project."""
    folder = resources.files("codeft_assets") / "labels"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".jsonl")), key=lambda file: file.name)
    return parse_labels(line for file in files for line in file.read_text(encoding="utf-8").splitlines())


def read_labeled_file(label: Label) -> bytes | None:
    """Return the bytes of a package label's file, None if it is not installed here."""
    if label.package == INTERPRETER:
        path = Path(sysconfig.get_path("stdlib")) / label.path
    else:
        try:
            path = Path(str(metadata.distribution(label.package).locate_file(label.path)))
        except metadata.PackageNotFoundError:
            return None
    return path.read_bytes() if path.is_file() else None


def sample_texts(sources: Iterable[Source]) -> dict[str, str]:
    """Return the text of every embedded sample document by its folded hash."""
    texts: dict[str, str] = {}
    for source in sources:
        if not source.has_sample:
            continue
        origin = SampleOrigin(name=source.name)
        upstream = origin.resolve()
        for file in upstream.files:
            for documents, _, _ in adapt_rows(origin.read(upstream, file), source.adapter, source.provenance("sample")):
                texts |= {folded_hash(text): text for text in documents["text"].to_pylist()}
    return texts


def labeled_documents(sources: Iterable[Source]) -> tuple[LabeledDocuments, LabeledDocuments]:
    """Return the training and the held-out documents of the shipped labels."""
    return resolve_labels(shipped_labels(), read_file=read_labeled_file, samples=sample_texts(sources))
