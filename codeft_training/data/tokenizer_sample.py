"""The documents that a tokenizer is trained on: all of a small corpus, a stated sample of a large one.

Invariant: the sample depends on the corpus and the size only; a document is drawn by the hash of its id, and each
source has the share of the sample that it has of the corpus.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

from codeft_training.data.corpus import Corpus

MEGABYTE = 1_000_000
_COLUMNS = ("document_id", "source", "text")


class TokenizerSample:
    """At most ``megabytes`` of the training documents' text, and its counts once it was read."""

    def __init__(self, corpus: Corpus, megabytes: int) -> None:
        if megabytes < 1:
            raise ValueError(f"sample_megabytes {megabytes} must be at least 1; 100 is enough for most vocabularies")
        self._corpus = corpus
        self._bytes_by_source = _bytes_by_source(corpus)
        self._fraction = min(1.0, megabytes * MEGABYTE / max(self.num_corpus_bytes, 1))
        self.num_documents, self.num_bytes = 0, 0

    @property
    def num_corpus_bytes(self) -> int:
        """Bytes of text of all training documents."""
        return self._bytes_by_source.total()

    def texts(self) -> Iterator[str]:
        """Yield the texts of the sample in the order of the corpus.

        Raises:
            ValueError: no document is as small as its source's share of the sample.
        """
        left = {source: int(size * self._fraction) for source, size in self._bytes_by_source.items()}
        for document in self._drawn():
            size = len(document["text"].encode())
            if size <= left[document["source"]]:
                left[document["source"]] -= size
                self.num_documents, self.num_bytes = self.num_documents + 1, self.num_bytes + size
                yield document["text"]
        if self.num_corpus_bytes and not self.num_documents:
            raise ValueError(
                f"a sample of {self._fraction:.2%} of {self.num_corpus_bytes:,} bytes has no whole document; raise "
                f"sample_megabytes"
            )

    def _drawn(self) -> Iterator[dict[str, str]]:
        import pyarrow as pa

        for batch in self._corpus.batches("train", _COLUMNS):
            ids = batch["document_id"].to_pylist()
            drawn = [_position(document_id) < self._fraction for document_id in ids]
            yield from batch.filter(pa.array(drawn, pa.bool_())).to_pylist()  # typed: a shard may be empty


def _bytes_by_source(corpus: Corpus) -> Counter[str]:
    import pyarrow.compute as pc

    found = Counter[str]()
    for batch in corpus.batches("train", ("source", "text")):
        sizes = batch.set_column(1, "text", pc.binary_length(batch["text"])).group_by("source")  # pyright: ignore[reportAttributeAccessIssue]
        found.update({row["source"]: row["text_sum"] for row in sizes.aggregate([("text", "sum")]).to_pylist()})
    return found


def _position(document_id: str) -> float:
    """Return a place in 0..1, without 1, that depends on the document only."""
    return int.from_bytes(hashlib.blake2b(document_id.encode(), digest_size=6).digest()) / 2**48
