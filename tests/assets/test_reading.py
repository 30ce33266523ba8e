"""Files as people write them: no row is lost in silence, and an odd row or file does not take the others with it.

Each case was read wrongly once. Where ``datasets`` reads the same repository, its rows are the right ones.
"""

import bz2
import gzip
import io
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeft_assets.curation.ingest.drafts import Reject
from codeft_assets.origins import FileOrigin, HubOrigin
from codeft_assets.origins.errors import MissingUpstreamError, OversizedUpstreamError, TruncatedUpstreamError
from codeft_assets.origins.json_rows import MAX_ROW_BYTES, json_rows
from codeft_assets.origins.table_rows import table_rows

ROWS = [{"text": f"row {number}"} for number in range(4)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def parquet(rows, schema=None):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer)
    return buffer.getvalue()


def zstd(data):
    return pa.Codec("zstd").compress(data, asbytes=True)


SAME_AS_DATASETS = {
    "a blank first line": {"a.jsonl": f"\n{LINES}"},
    "blank lines": {"a.jsonl": LINES.replace("\n", "\n\n")},
    "a byte order mark": {"a.jsonl": f"\ufeff{LINES}"},
    "bz2": {"a.jsonl.bz2": bz2.compress(LINES.encode())},
    "ndjson": {"a.ndjson": LINES},
    "lines named .json": {"a.json": LINES},
    "an array": {"a.json": json.dumps(ROWS, indent=1)},
    "an array named .jsonl": {"a.jsonl": json.dumps(ROWS)},
    "an array of texts": {"a.json": json.dumps([row["text"] for row in ROWS])},
    "tab separated": {"a.tsv": "text\n" + "".join(f"{row['text']}\n" for row in ROWS)},
    "the same rows twice": {"a.jsonl": LINES, "a.parquet": parquet(ROWS)},
    "two lines and a table": {"a.jsonl": LINES[:36], "b.jsonl": LINES[36:], "c.parquet": parquet(ROWS)},
}


REFUSED_BY_DATASETS = {
    "zstd": {"a.jsonl.zst": zstd(LINES.encode())},
    "an empty shard": {
        "train-0.parquet": parquet([], pa.schema([("text", pa.string())])),
        "train-1.parquet": parquet(ROWS),
    },
    "an empty file": {"a.jsonl": "\n", "b.jsonl": LINES},
}


def hub_rows(origin):
    upstream = origin.resolve()
    return [row for file in upstream.files for _, row in origin.read(upstream, file)]


@pytest.mark.parametrize("name", SAME_AS_DATASETS)
def test_the_rows_are_those_of_datasets(hub, cache, tmp_path, name):
    from datasets import load_dataset

    hub.commit("me/set", SAME_AS_DATASETS[name] | {"README.md": "# set"})
    expected = list(load_dataset("me/set", split="train", cache_dir=str(tmp_path)))
    assert hub_rows(HubOrigin(repo_id="me/set")) == expected
    assert expected == ROWS


@pytest.mark.parametrize("name", REFUSED_BY_DATASETS)
def test_rows_that_datasets_refuses_are_read(hub, name):
    hub.commit("me/set", REFUSED_BY_DATASETS[name])
    assert hub_rows(HubOrigin(repo_id="me/set")) == ROWS


def test_files_of_another_format_are_named(hub):
    hub.commit("me/set", {"a.jsonl": LINES, "a.parquet": parquet(ROWS)})
    assert HubOrigin(repo_id="me/set").resolve().note == "1 files of another format are left out: ['a.jsonl']"


GOOD_CSV = "".join(f"{row['text']},1\n" for row in ROWS)
REJECTED = {
    "a bad first line": ("a.jsonl", f"oops\n{LINES}", ["malformed_json"]),
    "a cut first line": ("a.jsonl", f'{{"text": "x\n{LINES}', ["malformed_json"]),
    "a cut first line named .json": ("a.json", f'{{"text": \n{LINES}', ["malformed_json"]),
    "a line that is a list": ("a.jsonl", f"[1]\n{LINES}", ["not_an_object"]),
    "a line that is a number": ("a.jsonl", f"17\n{LINES}", ["not_an_object"]),
    "an integer of 5,000 digits": ("a.jsonl", f'{{"n": {"1" * 5000}}}\n{LINES}', ["malformed_json"]),
    "a line nested deeply": ("a.jsonl", f"{'[' * 100_000}\n{LINES}", ["nested_too_deeply"]),
    "no UTF-8": ("a.jsonl", b'{"text": "\xff"}\n' + LINES.encode(), ["malformed_json"]),
    "null in an array": ("a.json", json.dumps([ROWS[0], None, *ROWS[1:]]), ["not_an_object"]),
    "a text in an array": ("a.json", json.dumps([*ROWS, "text"], indent=1), ["not_an_object"]),
    "a long line": ("a.jsonl", f'{{"text": "{"x" * MAX_ROW_BYTES}"}}\n{LINES}', ["row_too_long"]),
    "a CSV line with a bad quote": ("a.csv", 'text,n\n"a"b,1\n' + GOOD_CSV, ["malformed_csv"]),
    "a quote that is never closed": ("a.csv", 'text,n\n"a,1\n' + GOOD_CSV, ["malformed_csv"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REJECTED)
def test_an_odd_row_is_a_reject_and_the_others_are_read(tmp_path, name):
    path, content, reasons = REJECTED[name]
    (tmp_path / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    origin = FileOrigin(path=str(tmp_path / path))
    rows = hub_rows(origin)
    assert [row.reason for row in rows if isinstance(row, Reject)] == reasons
    assert [row["text"] for row in rows if isinstance(row, dict)] == [row["text"] for row in ROWS]


def test_a_text_in_parquet_that_is_not_utf8_is_a_reject():
    column = pa.array([b"good", b"\xff", b"fine"]).cast(pa.string(), safe=False) if False else None
    del column
    buffer = io.BytesIO()
    bad = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\4\0\0\0\5\0\0\0"), pa.py_buffer(b"good\xff")]
    )
    pq.write_table(pa.table({"text": bad}), buffer)
    first, second = table_rows(buffer, "a.parquet")
    assert first == {"text": "good"}
    assert second.reason == "not_utf8"


def test_values_of_a_csv_are_text_as_written(tmp_path):
    (tmp_path / "a.csv").write_text("text,text,n\nNA,null,007\n")
    assert hub_rows(FileOrigin(path=str(tmp_path / "a.csv"))) == [{"text": "NA", "text.1": "null", "n": "007"}]


@pytest.mark.parametrize(
    "content", ['[{"a": 1}, {"a": ', '[{"a": 1}', '[{"a": 1} x]', '[\n{"a": 1}\n]\nmore', '{"a":\n [1,\n 2']
)
def test_damage_that_hides_rows_is_an_error(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(TruncatedUpstreamError, match=r"a.json' does not parse .*: it was cut off or is damaged"):
        hub_rows(FileOrigin(path=str(tmp_path / "a.json")))


def test_an_array_is_read_as_a_stream():
    content = json.dumps([{"text": "x" * 1000, "n": number, "f": 1.5} for number in range(20_000)], indent=1).encode()
    tracemalloc.start()
    numbers = [row["n"] for row in json_rows(io.BufferedReader(io.BytesIO(content)), is_lines=False)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert numbers == list(range(20_000))
    assert peak < len(content) / 4


@pytest.mark.parametrize("block", [1, 2, 3, 5, 8, 13])
def test_an_array_may_be_cut_anywhere_between_two_blocks(monkeypatch, block):
    monkeypatch.setattr("codeft_assets.origins.json_rows._BLOCK_CHARS", block)
    values = [{"n": 12345, "t": 'ü]{\\"[,'}, {"n": -1.25e3, "x": [[], {}]}]
    content = json.dumps(values, indent=1, ensure_ascii=False).encode()
    assert list(json_rows(io.BufferedReader(io.BytesIO(content)), is_lines=True)) == values


def test_a_bomb_is_refused_before_it_is_held(tmp_path):
    line = json.dumps({"text": "a" * 1000}).encode() + b"\n"
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(line * 100_000))
    with pytest.raises(OversizedUpstreamError, match=r"a.jsonl.gz' expands .* over 200 times; unpack it yourself"):
        for _ in FileOrigin(path=str(tmp_path)).read(*one_file(FileOrigin(path=str(tmp_path)))):
            pass


def one_file(origin):
    upstream = origin.resolve()
    return upstream, upstream.files[0]


def test_a_revision_that_is_gone_says_so(hub):
    hub.commit("me/set", {"a.jsonl": LINES})
    with pytest.raises(MissingUpstreamError, match="the revision is gone, the dataset is there") as caught:
        HubOrigin(repo_id="me/set", revision="0" * 40).resolve()
    assert "repo_id" not in str(caught.value)
    origin = HubOrigin(repo_id="me/set")
    upstream, file = one_file(origin)
    hub.repos["me/set"].commits.clear()
    with pytest.raises(MissingUpstreamError, match=r"gone.*observe the source again") as caught:
        list(origin.read(upstream, file))
    assert "repo_id" not in str(caught.value)
