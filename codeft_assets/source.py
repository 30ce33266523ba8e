"""The fields of a catalogue entry, checked when the entry is made. The entries themselves are in ``sources.py``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from codeft_assets.curation.documents import DOMAINS, FORMATS
from codeft_assets.curation.ingest.drafts import Adapter
from codeft_assets.curation.ingest.rows import Provenance
from codeft_assets.curation.quality.natural_language import NATURAL_LANGUAGES
from codeft_assets.curation.quality.thresholds import NO_THRESHOLD, Threshold
from codeft_assets.origins import Origin

THINK_SPAN_POLICIES = ("train", "mask", "remove")
_NAME = re.compile(r"^[a-z0-9]+(?:-[a-z0-9]+)*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One dataset: where its rows come from, how a row becomes a document, and its weight in the mixture."""

    name: str
    about: str
    """One sentence for the web UI that describes a row."""
    origin: Origin
    adapter: Adapter
    domain: str
    format: str
    license: str
    homepage: str
    priority: int = 50
    """Of duplicates, the copy from the source with the lowest number is kept."""
    threshold: Threshold = NO_THRESHOLD
    """Minimum educational value; curated instruct data need not reach that of raw web text."""
    natural_languages: tuple[str, ...] = ()
    """ISO 639-1 codes of the natural languages of which prose is kept; empty keeps all."""
    weight: float = 1.0
    """Relative share of its domain's tokens."""
    think_spans: str = "train"
    """Policy for ``<think>`` spans in training: ``train`` on them, ``mask`` them from the loss, or ``remove`` them."""
    id_column: str = ""
    """The column that names a row upstream: its documents keep their ids when their text changes. Empty: the content
    is the id, which no new order, file or row before it changes. A row number is no name."""
    max_rows: int | None = None
    """Rows to read in the full profile; None reads everything."""
    has_sample: bool = True
    """False where the sample profile reads the real origin, because it needs no network."""
    runs_doctests: bool = False
    """Whether documents with doctests are kept only if these pass in the sandbox, for adapters such as
    ``function_units``."""
    max_bad_fraction: float | None = None
    """Share of rows that may be rejected, for an adapter that selects; None leaves it to the profile."""
    sample_origin: Origin | None = None
    """The origin of the sample profile, where that is neither the embedded sample nor the real origin."""

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(f"source name {self.name!r} must be lower-case words joined by '-'; rename the entry")
        if self.domain not in DOMAINS or self.format not in FORMATS:
            raise ValueError(
                f"source {self.name!r}: domain {self.domain!r} must be one of {DOMAINS} and format {self.format!r} "
                f"one of {FORMATS}; fix the entry in sources.py"
            )
        if unknown := sorted(set(self.natural_languages) - set(NATURAL_LANGUAGES)):
            raise ValueError(
                f"source {self.name!r}: natural_languages {unknown} are none of {NATURAL_LANGUAGES}; fix the entry"
            )
        if self.think_spans not in THINK_SPAN_POLICIES:
            raise ValueError(
                f"source {self.name!r}: think_spans {self.think_spans!r} is none of {THINK_SPAN_POLICIES}; "
                f"fix the entry in sources.py"
            )
        if not 0 < self.weight < math.inf:
            raise ValueError(
                f"source {self.name!r}: weight {self.weight} must be positive and finite; fix the entry in sources.py"
            )

    def provenance(self, revision: str) -> Provenance:
        """Return the fields that all documents of the source at ``revision`` share."""
        return Provenance(
            source=self.name,
            revision=revision,
            domain=self.domain,
            format=self.format,
            license=self.license,
            id_column=self.id_column,
        )


def sources_by_name(entries: Sequence[Source]) -> dict[str, Source]:
    """Return ``entries`` by name.

    Raises:
        ValueError: two entries have the same name.
    """
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        raise ValueError(f"sources named twice: {sorted({n for n in names if names.count(n) > 1})}; rename one")
    return {entry.name: entry for entry in entries}
