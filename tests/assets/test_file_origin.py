"""Your own files: every format gives the same rows, and a damaged file says so and gives none of them twice."""

import bz2
import gzip
import json
import lzma
import os
import re

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfFileSystem

from codeft_assets.curation.ingest.drafts import Reject
from codeft_assets.origins import FileOrigin
from codeft_assets.origins.errors import (
    EmptyUpstreamError,
    MissingUpstreamError,
    TruncatedUpstreamError,
    UnreachableUpstreamError,
)
from codeft_assets.origins.folders import MAX_TEXT_BYTES

ROWS = [{"text": f"row {number}\nwith, a comma", "n": str(number)} for number in range(3000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def csv_bytes(delimiter=","):
    body = "".join(f'"{row["text"]}"{delimiter}{row["n"]}\n' for row in ROWS)
    return ("\ufeff" + f"text{delimiter}n\n" + body).encode()


def zstd(data):
    # two frames, as tools that append write them
    return b"".join(pa.Codec("zstd").compress(part, asbytes=True) for part in (data[:5000], data[5000:]))


def zstd_stream(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


FILES = {
    "a.jsonl": LINES,
    "a.json": json.dumps(ROWS).encode(),
    "a.csv": csv_bytes(),
    "a.tsv": csv_bytes("\t"),
    "a.jsonl.gz": gzip.compress(LINES[:5000]) + gzip.compress(LINES[5000:]),
    "a.jsonl.zst": zstd_stream(LINES),
    "b.jsonl.zst": zstd_stream(LINES[:5000]) + zstd_stream(LINES[5000:]),
    "a.jsonl.bz2": bz2.compress(LINES),
    "a.json.xz": lzma.compress(json.dumps(ROWS).encode()),
    "a.csv.gz": gzip.compress(csv_bytes()),
}


def rows_of(path):
    origin = FileOrigin(path=str(path))
    upstream = origin.resolve()
    return [row for file in upstream.files for _, row in origin.read(upstream, file)]


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_rows(tmp_path, name):
    (tmp_path / name).write_bytes(FILES[name])
    assert rows_of(tmp_path / name) == ROWS


def test_parquet_gives_the_same_rows(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet") == ROWS


def test_a_glob_a_folder_and_a_url_name_several_tables(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jsonl").write_bytes(LINES)
    (tmp_path / "README.md").write_text("About these rows.")
    (tmp_path / ".hidden.jsonl").write_bytes(LINES)
    assert len(rows_of(tmp_path)) == len(rows_of(f"{tmp_path}/*.jsonl")) == len(rows_of(f"file://{tmp_path}")) == 9000
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/rows/a.jsonl", LINES)
    assert rows_of("memory://rows/*.jsonl") == ROWS


@pytest.mark.parametrize("name", [name for name in FILES if "csv" not in name and "tsv" not in name])
def test_a_file_that_was_cut_off_is_an_error_and_no_short_file(tmp_path, name):
    (tmp_path / name).write_bytes(FILES[name][:-40])
    origin = FileOrigin(path=str(tmp_path / name))
    upstream = origin.resolve()
    if name == "a.jsonl":  # the last line is a row that does not parse
        assert rows_of(tmp_path / name)[-1].reason == "malformed_json"
        return
    with pytest.raises(TruncatedUpstreamError, match=r"does not parse .* cut off or is damaged; replace the file"):
        list(origin.read(upstream, upstream.files[0]))


def test_a_line_of_another_length_is_malformed_and_the_rest_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("text,n\nx,1\ny\nz,3,4\n\nw,5\n")
    first, short, long, last = rows_of(tmp_path / "a.csv")
    assert (first, last) == ({"text": "x", "n": "1"}, {"text": "w", "n": "5"})
    assert [(row.text, row.reason) for row in (short, long)] == [("y\n", "malformed_csv"), ("z,3,4\n", "malformed_csv")]
    assert long.detail == "3 fields where the header has 2"


def test_a_folder_of_code_is_a_row_a_file_in_one_unit_a_subfolder(tmp_path):
    files = {"main.py": "x = 1\n", "lib/a.js": "let a = 1\n", "lib/deep/b.rs": "fn b() {}\n", "docs/c.md": "# C\n"}
    left_out = {".git/d.py": "no", "node_modules/e.js": "no", "lib/.cache/f.py": "no", "package.json": "{}"}
    for name, text in (files | left_out).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "bad.py").write_bytes(b"\xff")
    (tmp_path / "empty.py").touch()
    (tmp_path / "table.py").write_bytes(b"x" * (MAX_TEXT_BYTES + 1))
    upstream = FileOrigin(path=str(tmp_path)).resolve()
    assert [file.path for file in upstream.files] == ["./", "docs/", "lib/"]
    assert upstream.note == (
        "left out: empty files 1 (empty.py), files over 400,000 bytes 1 (table.py), folders named .cache, .git, "
        "node_modules; 1 tables beside text files are left out; name them by a glob"
    )
    rows = rows_of(tmp_path)
    assert {row["path"]: row["text"] for row in rows if isinstance(row, dict)} == files
    assert [row.reason for row in rows if isinstance(row, Reject)] == ["not_utf8"]


def test_only_an_edited_file_changes_the_fingerprint_and_only_its_unit(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.py").write_text(folder)
    origin = FileOrigin(path=str(tmp_path))
    before = origin.resolve()
    os.utime(tmp_path / "a" / "x.py", (1, 1))
    assert origin.resolve().fingerprint == before.fingerprint  # a newer date is no change
    (tmp_path / "b" / "x.py").write_text("c")
    after = origin.resolve()
    assert after.files[0].fingerprint == before.files[0].fingerprint
    assert after.files[1].fingerprint != before.files[1].fingerprint
    assert after.revision != before.revision


@pytest.mark.parametrize("path", ["http://127.0.0.1:1/rows.jsonl", "http://127.0.0.1:1/*.csv", "hf://datasets/a/b"])
def test_a_server_that_does_not_answer_is_named_with_the_entry_and_the_remedy(path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    HfFileSystem.clear_instance_cache()
    origin = FileOrigin(path=path, named_in="source 'x' in 'sources.toml'")
    with pytest.raises(
        UnreachableUpstreamError, match=rf"'{re.escape(path)}' cannot be reached .*check the network, .* source 'x' in"
    ):
        origin.resolve()
    HfFileSystem.clear_instance_cache()  # of this endpoint


def test_what_cannot_be_read_says_what_to_do(tmp_path):
    with pytest.raises(MissingUpstreamError, match=r"'/no/such'; fix path of the source; .* hf://datasets/OWNER"):
        FileOrigin(path="/no/such").resolve()
    with pytest.raises(MissingUpstreamError, match=r"'nosuch://x' cannot be opened: .*fix path of the source"):
        FileOrigin(path="nosuch://x").resolve()
    (tmp_path / "a.bin").write_bytes(b"0")
    with pytest.raises(EmptyUpstreamError, match=r"holds no file that is read: tables end in .*\.jsonl"):
        FileOrigin(path=str(tmp_path)).resolve()
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(b"PAR1"))
    with pytest.raises(TruncatedUpstreamError, match="Parquet compresses its columns itself"):
        rows_of(tmp_path / "a.parquet.gz")
