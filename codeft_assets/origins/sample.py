"""The embedded samples: a few rows of every source in upstream's exact shape, so that everything runs offline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash

from codeft_assets.curation.ingest.drafts import Reject, Row
from codeft_assets.origins.errors import MissingUpstreamError
from codeft_assets.origins.origin import Upstream, UpstreamFile
from codeft_assets.origins.table_rows import table_rows

SAMPLES_FOLDER = Path(__file__).parent.parent / "samples"
_SUFFIXES = (".jsonl", ".json", ".txt", ".md")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOrigin:
    """``samples/<name>.jsonl`` or ``.txt``, or every file of the folder ``samples/<name>/``."""

    name: str
    folder: str = str(SAMPLES_FOLDER)

    def resolve(self) -> Upstream:
        """Return the sample's files; the revision is a hash of their contents.

        Raises:
            MissingUpstreamError: there is no sample of that name.
        """
        files = tuple(
            UpstreamFile(
                path=str(path.relative_to(self.folder)),
                fingerprint=xxhash.xxh3_128_hexdigest(path.read_bytes()),
                size_bytes=path.stat().st_size,
            )
            for path in self._paths()
        )
        if not files:
            raise MissingUpstreamError(
                f"source {self.name!r} has no sample; write rows in upstream's shape as {self.folder}/{self.name}.jsonl"
            )
        revision = xxhash.xxh3_128_hexdigest("\n".join(f"{file.path} {file.fingerprint}" for file in files))
        return Upstream(revision=f"sample-{revision[:12]}", files=files)

    def read(self, upstream: Upstream, file: UpstreamFile) -> Iterator[tuple[str, Row | Reject]]:
        """Yield the rows of ``file`` as the real origin would give them."""
        del upstream  # samples have one revision: the installed one
        path = Path(self.folder) / file.path
        for number, row in enumerate(_rows(path)):
            yield f"{file.path}#{number}", row

    def _paths(self) -> list[Path]:
        base = Path(self.folder)
        single = [base / f"{self.name}{suffix}" for suffix in _SUFFIXES if (base / f"{self.name}{suffix}").is_file()]
        return single or sorted(path for path in base.glob(f"{self.name}/*") if path.suffix in _SUFFIXES)


def _rows(path: Path) -> Iterator[Row | Reject]:
    if path.suffix == ".md":
        yield {"url": path.stem, "body": path.read_text(encoding="utf-8")}
        return
    with path.open("rb") as stream:
        yield from table_rows(stream, path.name)
