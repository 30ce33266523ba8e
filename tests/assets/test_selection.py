"""Selection of instruct documents: exactly the planted ones go, and the leak index shows a leaked set."""

import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from codeft_assets.curation.decontamination.leak_index import is_counted, item_overlaps, leak_index
from codeft_assets.curation.quality.signals import measure_signals
from codeft_assets.curation.report import StageReport
from codeft_assets.curation.selection.select import SelectionParams, select_documents
from codeft_assets.stages.own_tests import LIMITS, run_own_tests
from codeft_assets.stages.selection import find_leaks, leak_indices, measure_own_tests, select_instructions
from codeft_assets.store.data_root import Store
from codeft_assets.store.manifest import Manifest
from codeft_eval.sandbox.pool import Sandbox

ITEMS = [json.loads(line) for line in Path("codeft_eval/data/composed.jsonl").read_text().splitlines()][:40]
TASKS = """parse a date, sum a column, walk a tree, count words, merge two lists, rotate a matrix, read a log,
    hash a password, draw a maze, sort by length""".replace("\n   ", "").split(", ")
WORDS = [
    "stream",
    "buffer",
    "cache",
    "index",
    "token",
    "graph",
    "queue",
    "vector",
    "socket",
    "mutex",
    "signal",
    "daemon",
    "kernel",
]
CODE = "```python\n{}\n```"


def question(task, rng):
    words = rng.sample(WORDS, 6)
    return f"How do I {task} with a {' and a '.join(words)}? Explain each step that you take."


def answer(name, body, test):
    return CODE.format(f"def {name}(x):\n{body}\n\nassert {test}")


def planted():
    """Ten documents, then three near-copies, two whose tests fail, and one benchmark item."""
    rng = random.Random(5)
    bodies = [
        f"    {task.replace(' ', '_')} = [x + {n}]\n    return {task.replace(' ', '_')}[0]"
        for n, task in enumerate(TASKS)
    ]
    good = [
        f"{question(task, rng)}\n\n{answer(f'f{n}', bodies[n], f'f{n}(1) == {n + 1}')}" for n, task in enumerate(TASKS)
    ]
    copies = [text.replace("Explain each step", "Explain every step") for text in good[:3]]
    wrong = [
        f"{question('reverse a string', rng)}\n\n{answer('g', '    return x[::-1]', 'g([1, 2]) == [1, 2]')}",
        f"{question('open a door', rng)}\n\n{answer('h', '    return unknown(x)', 'h(1) == 1')}",
    ]
    leaked = f"Complete this function.\n\n{ITEMS[7]['prompt']}{ITEMS[7]['canonical_solution']}"
    return {"good": good, "near_copy": copies, "fails_tests": wrong, "leaked": [leaked]}


def commit(store, key, frame):
    table = store.table(key)
    rows = frame if isinstance(frame, pa.Table) else frame.to_arrow()
    shard = table.write_shard("shards/0.parquet", rows, unit=f"{key}/0")
    facts = {"code_version": "1", "parameters": {}, "fingerprints": ("0",)}
    report = StageReport(num_in=rows.num_rows, num_out=rows.num_rows)
    table.commit(Manifest(key=key, stage=key, shards=(shard,), report=report, **facts))
    return table


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The planted set as tables, with all that stands between documents and plan."""
    store = Store(str(tmp_path_factory.mktemp("home")))
    texts = [(kind, f"{kind}{n}", text) for kind, own in planted().items() for n, text in enumerate(own)]
    kinds, ids, texts = map(list, zip(*texts, strict=True))
    rows = {"document_id": ids, "source": kinds, "source_row": ids, "domain": ["code"] * len(ids)}
    rows |= {"format": ["instruct"] * len(ids), "language": ["python"] * len(ids), "text": texts}
    documents = commit(
        store, "documents/planted", pl.DataFrame(rows).with_columns(num_chars=pl.col("text").str.len_chars())
    )
    fields = [("prompt", "prompt"), ("solution", "canonical_solution")]
    benchmark = [
        {"benchmark": "composed", "task_id": item["task_id"], "kind": "code", "field": field, "text": item[name],
         "document_id": ""}
        for item in ITEMS for field, name in fields
    ]  # fmt: skip
    signals = measure_signals(pa.array(texts, pa.large_string()), pa.array(["python"] * len(texts)))
    scored = {"document_id": ids, "drop_reason": [None] * len(ids), "drop_detail": [""] * len(ids)}
    scored = pl.DataFrame(scored, schema_overrides={"drop_reason": pl.String}).with_columns(
        educational_value=pl.lit(0.9)
    )
    no_matches = {name: pl.String for name in ("document_id", "benchmark", "task_id", "field")} | {
        "overlap": pl.Float32
    }
    no_clusters = {name: pl.String for name in ("document_id", "representative_id", "kind")} | {"jaccard": pl.Float32}
    found = {
        "scores": commit(store, "quality/scores", scored),
        "signals": commit(store, "quality/signals", signals.with_columns(document_id=pl.Series(ids))),
        "matches": commit(store, "decontamination/matches", pl.DataFrame(schema=no_matches)),
        "clusters": commit(store, "dedup/clusters", pl.DataFrame(schema=no_clusters)),
        "benchmark_texts": commit(store, "decontamination/benchmark_texts", pl.DataFrame(benchmark)),
    }
    shard = documents.manifest().shards[0]
    for name, made in (
        ("own_tests", measure_own_tests(documents, shard)),
        ("leaks", find_leaks(documents, shard, found["benchmark_texts"])),
    ):
        found[name] = commit(store, f"selection/{name}", next(made).rows)
    return store, documents, found


def test_exactly_the_planted_documents_go(tables):
    _, documents, inputs = tables
    (made,) = select_instructions([documents], inputs, SelectionParams())
    rows = pl.DataFrame(made.rows)
    assert rows.height == made.report.num_in == 16
    gone = rows.drop_nulls("drop_reason")
    assert dict(gone.select("document_id", "drop_reason").iter_rows()) == {
        **{f"near_copy{n}": "near_copy" for n in range(3)},
        **{f"fails_tests{n}": "fails_tests" for n in range(2)},
        "leaked0": "leaked",
    }
    details = dict(gone.select("document_id", "drop_detail").iter_rows())
    assert details["fails_tests0"] == "0 of 1 tests pass"
    assert details["leaked0"] == "overlap 1.0 with an item"
    assert details["near_copy1"].startswith("of good1: distance 0.0")


def test_the_leak_index_tells_a_leaked_set_from_a_clean_one(tables):
    _, _, inputs = tables
    text = [item["prompt"] + item["canonical_solution"] for item in ITEMS]
    items, clean = (pa.array(texts, pa.large_string()) for texts in (text, planted()["good"]))
    inside = pa.array([*planted()["good"], *text[::2]], pa.large_string())
    num_items = int(is_counted(items).sum())
    assert num_items == len(ITEMS)
    assert leak_index(item_overlaps(clean, items), num_items) < 0.05
    assert leak_index(item_overlaps(inside, items), num_items) > 0.5
    once = leak_index(item_overlaps(inside, items), num_items)
    assert once / 2 <= leak_index(item_overlaps(inside, items), num_items, best=2) < 0.6 * once
    assert leak_index(item_overlaps(inside, items), 0) == 0
    found = leak_indices(inputs["leaks"].read(), inputs["benchmark_texts"].read())
    (leaked,) = found.filter(pl.col("source") == "leaked")["index"]
    assert leaked == pytest.approx(1 / len(ITEMS), abs=0.02)  # one item of forty, letter for letter


def test_an_overlap_is_the_share_of_an_items_grams():
    words = [f"w{n}" for n in range(30)]
    items = pa.array([" ".join(words), "too short", " ".join(words[:12])], pa.large_string())
    half = pa.array([" ".join(words[:20]), " ".join(reversed(words)), ""], pa.large_string())
    found = item_overlaps(half, items)
    grams = [(30 - width + 1, 20 - width + 1) for width in range(5, 14)]
    assert found.rows() == [(0, 0, pytest.approx(sum(held for _, held in grams) / sum(own for own, _ in grams)))]
    assert is_counted(items).to_list() == [True, False, False]


def test_own_tests_are_counted_one_by_one():
    texts = [
        "\nTests:\n".join(map(CODE.format, ("def f(x):\n    return x + 1", "assert f(1) == 2\nassert f(2) == 4"))),
        'def f(x):\n    """Add one.\n\n    >>> f(1)\n    2\n    >>> f(2)\n    3\n    """\n    return x + 1\n',
        "no code at all",
        "def f(:\n    assert 1",
        "import nothing_here\nassert nothing_here.x\n",
        "raise ValueError\nassert True\n",
        "def f():\n    while True:\n        pass\nassert f() is None\n",
    ]  # fmt: skip
    with Sandbox(limits=LIMITS, num_workers=1) as sandbox:
        found = run_own_tests(texts, sandbox)
    assert [(own.num_tests, own.share) for own in found] == [
        (2, 0.5), (2, 1.0), (0, None), (0, None), (1, None), (1, 0.0), (1, 0.0),
    ]  # fmt: skip


def unit_vectors(count, seed=1):
    vectors = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def documents_of(count):
    rng = np.random.default_rng(2)
    columns = {"document_id": [f"{n:05d}" for n in range(count)], "source": ["s"] * count, "num_tests": [0] * count}
    columns |= {"complexity": rng.permutation(count).astype(float), "leak": [0.0] * count}
    return pl.DataFrame(columns).with_columns(quality=pl.lit(None, pl.Float64))


def test_the_selection_is_the_greedy_one_whatever_the_order_of_rows_and_blocks():
    documents, vectors = documents_of(1500), unit_vectors(1500)
    params = SelectionParams(minimum_distance=0.35)
    rows, report = select_documents(documents, vectors, params)
    kept = []
    for place in np.argsort(-documents["complexity"].to_numpy()):  # as the paper says it
        if not kept or (1 - vectors[kept] @ vectors[place]).min() >= params.minimum_distance:
            kept.append(int(place))
    assert rows.filter(pl.col("drop_reason").is_null())["document_id"].to_list() == sorted(f"{n:05d}" for n in kept)
    order = np.random.default_rng(3).permutation(1500)
    assert select_documents(documents[order], vectors[order], params)[0].equals(rows)
    assert report.num_in == 1500 == report.num_out + sum(report.dropped.values())


def test_the_most_complex_ones_are_taken_when_only_some_are_wanted():
    documents = documents_of(50)
    rows, _ = select_documents(documents, unit_vectors(50), SelectionParams(minimum_distance=0.0, max_documents=7))
    kept = rows.filter(pl.col("drop_reason").is_null())
    assert sorted(kept["complexity"]) == sorted(documents["complexity"])[-7:]
    assert set(rows["drop_detail"]) == {"", "beyond the 7 most complex"}
    with pytest.raises(ValueError, match="minimum_quality 2 must lie in 0..1"):
        SelectionParams(minimum_quality=2)
