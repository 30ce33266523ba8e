"""Exercises made by a program on demand, as rows: no network, no file, and as many as are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import xxhash

from codeft_assets.curation.ingest.drafts import Row
from codeft_assets.exercises.subsets import ALL, SUBSETS
from codeft_assets.exercises.views import MEND, PREDICT, VIEWS, WRITE, exercise_row
from codeft_assets.origins.origin import Upstream, UpstreamFile

ROWS_PER_FILE = 10_000
"""A unit of work: ten to fifteen seconds. With a larger ``number``, the files before the last are not made again."""
_WITNESSES = 4
"""Rows of a file that are part of its fingerprint, so that other words or code are another revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedExercisesOrigin:
    """Rows ``0`` to ``number - 1`` of a seed; no row is of a composition that is held out."""

    number: int
    seed: int = 1
    views: Mapping[str, float] = field(default_factory=lambda: {WRITE: 0.8, PREDICT: 0.1, MEND: 0.1})
    """Relative frequency of each view."""
    javascript_share: float = 0.1
    subset: str = ALL.name
    """``basic`` or ``all``."""

    def __post_init__(self) -> None:
        if self.number < 1 or not 0 <= self.javascript_share <= 1:
            raise ValueError(
                f"number {self.number} must be at least 1 and javascript_share {self.javascript_share} in 0..1; fix "
                f"the entry in sources.py"
            )
        if self.subset not in SUBSETS:
            raise ValueError(f"subset {self.subset!r} is none of {sorted(SUBSETS)}; fix the entry in sources.py")
        if not self.views or not set(self.views) <= set(VIEWS) or min(self.views.values()) < 0:
            raise ValueError(
                f"views {dict(self.views)} must give some of {VIEWS} a frequency of 0 or more; fix the entry in "
                f"sources.py"
            )

    def resolve(self) -> Upstream:
        """Return one file for each ``ROWS_PER_FILE`` rows; nothing is made but the witnesses of each."""
        starts = range(0, self.number, ROWS_PER_FILE)
        files = tuple(self._file(start, min(start + ROWS_PER_FILE, self.number)) for start in starts)
        revision = xxhash.xxh3_128_hexdigest("\n".join(file.fingerprint for file in files))
        return Upstream(revision=f"composed-{revision[:12]}", files=files)

    def read(self, upstream: Upstream, file: UpstreamFile) -> Iterator[tuple[str, Row]]:
        """Yield the rows of one file."""
        del upstream
        start, stop = map(int, file.path.rpartition("/")[2].split("-"))
        for number in range(start, stop):
            yield f"seed-{self.seed}/{number}", self._row(number)

    def _row(self, number: int) -> Row:
        return exercise_row(
            self.seed,
            number,
            views=self.views,
            javascript_share=self.javascript_share,
            subset=SUBSETS[self.subset],
        )

    def _file(self, start: int, stop: int) -> UpstreamFile:
        witnesses = [self._row(number) for number in range(start, min(start + _WITNESSES, stop))]
        settings = (start, stop, self.seed, sorted(self.views.items()), self.javascript_share, self.subset)
        return UpstreamFile(
            path=f"seed-{self.seed}/{start}-{stop}", fingerprint=xxhash.xxh3_128_hexdigest(repr((settings, witnesses)))
        )
