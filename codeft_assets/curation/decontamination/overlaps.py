"""Overlaps of documents with benchmark items: containment of an item's n-grams, by words and by the shape of its code.

Invariant: every match names the benchmark, the task, the field, the overlap and its place. N-grams that many tasks
share are boilerplate and are not counted; number tables have no n-grams at all.
"""

from __future__ import annotations

import builtins
import functools
import keyword
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.kernels.ngrams import find_code_grams, find_word_grams, make_table, word_hashes
from codeft_assets.curation.text_buffers import text_buffers

GramTable = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]
Grams = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Text, n-gram, begin and end (bytes)."""

MATCH_SCHEMA = {
    "document_id": pl.String,
    "benchmark": pl.String,
    "task_id": pl.String,
    "field": pl.String,
    "view": pl.String,
    "overlap": pl.Float32,
    "num_hits": pl.UInt32,
    "span_start": pl.UInt32,
    "span_end": pl.UInt32,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One way of splitting text into tokens, and the overlap from which on an item is a match."""

    name: str
    width: int
    """Tokens an n-gram."""
    minimum_overlap: float
    """Share of the item's distinct n-grams that one place of the document holds."""
    minimum_hits: int
    """Distinct n-grams of the item that this place holds."""
    hits_alone: dict[str, int]
    """By kind of item: as many are a match by themselves. Fewer are what any program for the exercise may hold, and are
    a match only in a document that holds something of both halves of the task, its statement and its solution."""
    fields: tuple[str, ...] = ()
    """Fields that this view is for; empty for all."""


_STATEMENT = "prompt"
"""The field that is a task's statement; the others are of its solution."""
COMPOSED = "composed"
"""The kind of an item that a program made, as it makes rows of a source: what such rows share is no chance.

The same program with other names and numbers is a match by its shape alone, however short. Shared words are not: a part
of a held-out composition may be trained on. Of 3,000 rows 95 are such a program; 69 are found, with 12 hits 36."""
_CODE = ("code", COMPOSED)
# tests/benchmarks/decontamination.py, 9,000 package files and 18,000 textbook sections, answers and package files: with
# five words, three tokens or eight of a shape as matches by themselves, 15 and 194 were flagged for HumanEval and MBPP
# (Euclid, binary search, any Fibonacci), and now 1 and 16; of GSM8K's statements with 15 % of their words dropped 71 %
# were found, and now 98 %. Two hits of each half together flag no more than four did, and find .955 of renamed MBPP
# instead of .925.
VIEWS = (
    View(
        name="words",
        width=5,
        minimum_overlap=0.35,
        minimum_hits=2,
        hits_alone={"code": 8, COMPOSED: 8, "math": 5, "text": 5},
    ),
    View(
        name="phrases",
        width=3,
        minimum_overlap=0.3,
        minimum_hits=2,
        hits_alone={"code": 12, COMPOSED: 12, "math": 6, "text": 6},
        fields=(_STATEMENT,),
    ),
    View(
        name="tokens",
        width=6,
        minimum_overlap=0.8,
        minimum_hits=2,
        hits_alone={"code": 10, COMPOSED: 10},
        fields=("solution", "full"),
    ),
    View(
        name="shape",
        width=10,
        minimum_overlap=0.8,
        minimum_hits=2,
        hits_alone={"code": 12, COMPOSED: 4},
        fields=("solution", "full"),
    ),
)
MINIMUM_GAP_BYTES = 200
"""Hits further apart than this, and than the item is long, are different places."""
MAX_TASKS_PER_GRAM = 3
"""An n-gram that more tasks share is the benchmark's own boilerplate."""
_CONTROL_WORDS = (
    "break case catch class const continue default do else enum export extends fi final finally fn for fprintf func "
    "function goto if impl import int interface let long loop mut namespace new null package printf private public "
    "return static struct switch template this throw throws try typedef typename unsigned using var void while"
)
"""Of other languages than Python; none that is a usual name in Python, as ``end``, ``type`` and ``match`` are."""
_KEPT_WORDS = tuple(sorted({*_CONTROL_WORDS.split(), *keyword.kwlist, *dir(builtins)} - {"_"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewIndex:
    """The n-grams of all items in one view."""

    view: View
    postings: pl.DataFrame
    """``gram``, ``item``: which items hold an n-gram."""
    item_sizes: pl.DataFrame
    """``item``, ``num_grams`` (distinct ones that are not boilerplate), ``max_gap`` (bytes), ``hits_alone``."""
    table: GramTable
    """The n-grams as the kernels look them up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkIndex:
    """The benchmark items that documents are compared with."""

    items: pl.DataFrame
    """``benchmark``, ``task_id``, ``kind``, ``field``, ``text``; the row number is the item."""
    views: tuple[ViewIndex, ...]


def build_index(items: pl.DataFrame) -> BenchmarkIndex:
    """Return the index of benchmark ``items``: ``benchmark``, ``task_id``, ``kind``, ``field``, ``text``."""
    numbered = add_full_tasks(items).with_row_index("item")
    postings = [_postings(numbered, view, number) for number, view in enumerate(VIEWS)]
    views = tuple(_index_view(numbered, view, found) for view, found in zip(VIEWS, postings, strict=True))
    return BenchmarkIndex(items=numbered, views=views)


def add_full_tasks(items: pl.DataFrame) -> pl.DataFrame:
    """Return ``items`` and a field ``full`` of each task of code: prompt and solution, as its parts may be short."""
    full = (
        items.filter(pl.col("kind").is_in(_CODE) & pl.col("field").is_in(["prompt", "solution"]))
        .group_by("benchmark", "task_id", "kind", maintain_order=True)
        .agg(pl.col("text").str.join("\n"))
        .with_columns(field=pl.lit("full"))
    )
    named = ["benchmark", "task_id", "kind", "field", "text"]
    return pl.concat([items.select(named), full.select(named)])


def _postings(items: pl.DataFrame, view: View, number: int) -> pl.DataFrame:
    """Return ``gram``, ``item`` of all n-grams that few tasks share."""
    chosen = items.filter(pl.col("kind").is_in(list(view.hits_alone)))
    if view.fields:
        chosen = chosen.filter(pl.col("field").is_in(view.fields))
    nothing = make_table(np.empty(0, dtype=np.uint64))
    owners, grams, _, _ = _find_grams(_arrow(chosen["text"]), (nothing,) * len(VIEWS), everything=True)[number]
    postings = pl.DataFrame({"gram": grams, "item": chosen["item"].gather(owners)}).unique()
    task = chosen.select("item", task=pl.concat_str("benchmark", "task_id", separator="\x1f"))
    shared = pl.col("task").n_unique().over("gram")
    return postings.join(task, on="item").filter(shared <= MAX_TASKS_PER_GRAM).select("gram", "item")


def _index_view(items: pl.DataFrame, view: View, postings: pl.DataFrame) -> ViewIndex:
    gap = items.select(
        "item",
        max_gap=pl.max_horizontal(pl.col("text").str.len_bytes(), MINIMUM_GAP_BYTES),
        hits_alone=pl.col("kind").replace_strict(view.hits_alone, default=None, return_dtype=pl.UInt32),
    )
    return ViewIndex(
        view=view,
        postings=postings,
        item_sizes=postings.group_by("item").agg(num_grams=pl.len()).join(gap, on="item"),
        table=make_table(postings["gram"].unique().sort().to_numpy()),
    )


def _find_grams(text: pa.Array, tables: tuple[GramTable, ...], *, everything: bool = False) -> tuple[Grams, ...]:
    """Return the n-grams of each of ``VIEWS`` that its table holds, scanning words once and code once."""
    data, offsets = text_buffers(text)
    words, phrases, tokens, shape = VIEWS
    widths = (words.width, phrases.width), (tokens.width, shape.width)
    in_words = find_word_grams(data, offsets, widths[0], tables[:2], everything)
    return *in_words, *find_code_grams(data, offsets, _kept_words(), widths[1], tables[2:], everything)


def find_overlaps(document_id: pl.Series, text: pa.Array, index: BenchmarkIndex) -> pl.DataFrame:
    """Return one row per document, item and view that match, by ``MATCH_SCHEMA``; spans are byte offsets."""
    grams = _find_grams(text, tuple(view.table for view in index.views))
    found = [_matches(hits, view) for hits, view in zip(grams, index.views, strict=True)]
    every = pl.concat(found).join(index.items.select("item", "benchmark", "task_id", "field"), on="item")
    halves = (pl.col("field") == _STATEMENT).n_unique().over("document", "benchmark", "task_id")
    matches = every.filter(pl.col("is_alone") | (halves == 2)).drop("is_alone")
    return (
        matches.with_columns(document_id=document_id.gather(matches["document"]))
        .select(list(MATCH_SCHEMA))
        .cast(MATCH_SCHEMA)  # type: ignore[arg-type]
        .sort("document_id", "overlap", "benchmark", "task_id", "field", "view", descending=[False, True] + [False] * 4)
    )


def find_own_documents(documents: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Return a match, by ``MATCH_SCHEMA``, of each document that an item was made from, however short its text.

    Args:
        documents: ``document_id`` and ``num_bytes`` of the text.
        items: As for ``build_index``; ``document_id`` is empty where an item was made from none of our documents.
    """
    own = documents.join(items.filter(pl.col("document_id") != ""), on="document_id")
    all_of_it = {"view": pl.lit("document"), "overlap": 1.0, "num_hits": 0, "span_start": 0, "span_end": "num_bytes"}
    return own.with_columns(**all_of_it).select(list(MATCH_SCHEMA)).cast(MATCH_SCHEMA)  # type: ignore[arg-type]


def _matches(found: Grams, index: ViewIndex) -> pl.DataFrame:
    """Return the best place of each item in each document, if its overlap is large enough."""
    view = index.view
    owners, grams, begins, ends = found
    hits = pl.DataFrame({"document": owners, "gram": grams, "begin": begins, "end": ends})
    hits = hits.filter(pl.len().over("document") >= view.minimum_hits)
    listed = hits.select("document", "gram").unique().join(index.postings, on="gram")
    enough = (
        listed.group_by("document", "item")
        .len("num_hits")
        .filter(pl.col("num_hits") >= view.minimum_hits)
        .join(index.item_sizes, on="item")
        .filter(pl.col("num_hits") >= view.minimum_overlap * pl.col("num_grams"))
        .drop("num_hits")
    )
    chosen = (
        enough.join(index.postings, on="item").join(hits, on=["document", "gram"]).sort("document", "item", "begin")
    )
    gap = pl.col("begin") - pl.col("end").shift(1).over("document", "item")
    places = (
        chosen.with_columns(place=(gap > pl.col("max_gap")).fill_null(False).cum_sum())
        .group_by("document", "item", "place")
        .agg(
            pl.col("num_grams", "hits_alone").first(),
            num_hits=pl.col("gram").n_unique(),
            span_start=pl.col("begin").min(),
            span_end=pl.col("end").max(),
        )
        .with_columns(overlap=pl.col("num_hits") / pl.col("num_grams"))
    )
    return (
        places.filter((pl.col("overlap") >= view.minimum_overlap) & (pl.col("num_hits") >= view.minimum_hits))
        .sort("num_hits", "span_start", descending=[True, False])
        .unique(["document", "item"], keep="first", maintain_order=True)
        .with_columns(view=pl.lit(view.name), is_alone=pl.col("num_hits") >= pl.col("hits_alone"))
        .select("document", "item", "num_hits", "span_start", "span_end", "overlap", "view", "is_alone")
    )


def _arrow(series: pl.Series) -> pa.Array:
    array = series.to_arrow()
    return array.cast(pa.large_string())


@functools.cache
def _kept_words() -> GramTable:
    data, offsets = text_buffers(pa.array(_KEPT_WORDS, pa.large_string()))
    return make_table(word_hashes(data, offsets))
