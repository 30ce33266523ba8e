"""A file and documentation pages over HTTP, and local code: cached, retried, never half a file."""

import gzip
import os
import sysconfig
from datetime import UTC, datetime
from pathlib import Path

import pytest

from codeft_assets.curation.ingest.drafts import BadRowError
from codeft_assets.curation.ingest.free_text import reader_page
from codeft_assets.origins import FileOrigin, HttpFileOrigin, JinaReaderOrigin, LocalCodeOrigin
from codeft_assets.origins.errors import (
    GatedUpstreamError,
    MissingUpstreamError,
    OversizedUpstreamError,
    UnreachableUpstreamError,
)
from codeft_assets.origins.http_file import fetch, retry_after_seconds
from codeft_assets.origins.jina_reader import fetch_pages
from tests.hub.server import plain_server

PAGE = b"Title: T\n\nURL Source: u\n\nMarkdown Content:\n" + b"Some documentation text. " * 20


def always(status=200, body=b"text", headers=None):
    return lambda path, number: (status, headers or {}, body)


def test_a_file_is_one_row_and_its_content_is_its_revision(cache):
    with plain_server(always(body=b"all of it")) as (url, _):
        origin = HttpFileOrigin(url=f"{url}/total.txt")
        upstream = origin.resolve()
        assert list(origin.read(upstream, upstream.files[0])) == [("total.txt#0", {"text": "all of it"})]
        assert origin.resolve() == upstream
    with plain_server(always(body=b"changed")) as (url, _):
        assert HttpFileOrigin(url=f"{url}/total.txt").resolve().revision != upstream.revision


def test_a_file_that_has_not_changed_is_not_downloaded_again(cache):
    def answers(path, number):
        headers = dict(seen[-1][1])
        return (304, {}, b"") if headers.get("If-None-Match") == '"v1"' else (200, {"ETag": '"v1"'}, b"all of it")

    with plain_server(answers) as (url, seen):
        origin = HttpFileOrigin(url=f"{url}/total.txt")
        first, second = origin.resolve(), origin.resolve()
        assert first == second
        assert [row for _, row in origin.read(second, second.files[0])] == [{"text": "all of it"}]
        (cache / "http" / first.files[0].fingerprint).unlink()  # a cleared cache: asked for without a condition
        assert origin.resolve() == first
    assert ["If-None-Match" in headers for _, headers in seen] == [False, True, False]


def test_a_packed_answer_is_bounded_by_what_it_holds(cache, monkeypatch):
    monkeypatch.setattr("codeft_assets.origins.http_file.MAX_RESPONSE_BYTES", 1000)
    packed = {"Content-Encoding": "gzip"}
    with plain_server(always(body=gzip.compress(b"x" * 1000), headers=packed)) as (url, _):
        assert fetch(url).text == "x" * 1000
    with plain_server(always(body=gzip.compress(b"x" * 1001), headers=packed)) as (url, _):
        with pytest.raises(OversizedUpstreamError, match="more than 1,000 bytes; download it"):
            fetch(url)


def test_a_server_error_is_retried_after_its_retry_after(cache):
    def answers(path, number):
        return (429, {"Retry-After": "12"}, b"") if number == 1 else (200, {}, b"fine")

    waits = []
    with plain_server(answers) as (url, seen):
        assert fetch(url, sleep=waits.append).content == b"fine"
    assert (waits, len(seen)) == ([12.0], 2)


def test_a_body_shorter_than_it_should_be_is_not_taken(cache):
    with plain_server(always(body=b"half", headers={"Content-Length": "400"})) as (url, _):
        with pytest.raises(UnreachableUpstreamError, match="cut"):
            fetch(url, sleep=lambda _: None)


@pytest.mark.parametrize(("status", "error"), [(404, MissingUpstreamError), (403, GatedUpstreamError)])
def test_a_permanent_error_is_not_retried(cache, status, error):
    with plain_server(always(status)) as (url, seen), pytest.raises(error, match=str(status)):
        fetch(url, sleep=lambda _: None)
    assert len(seen) == 1


def test_a_server_that_is_not_there_is_unreachable():
    with pytest.raises(UnreachableUpstreamError, match="failed 5 times") as caught:
        fetch("http://127.0.0.1:9", sleep=lambda _: None)
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:00:00 GMT", 0.0),
        (None, None),
        ("?", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert retry_after_seconds(value, now=lambda: datetime(2026, 10, 21, 7, 28, tzinfo=UTC)) == seconds


def test_a_page_is_fetched_once_a_day(cache):
    with plain_server(always(body=PAGE)) as (url, seen):
        for day in ("20260101", "20260101", "20260102"):
            fetch_pages(("https://a.example/x",), url, today=lambda day=day: day, sleep=lambda _: None)
    assert len(seen) == 2


def test_pages_are_fetched_at_the_rate_the_service_allows(cache, monkeypatch):
    urls = ("https://a.example/1", "https://a.example/2", "https://a.example/3")
    waits = []
    with plain_server(always(body=PAGE)) as (url, seen):
        fetch_pages(urls, url, today=lambda: "20260101", sleep=waits.append)
        monkeypatch.setenv("JINA_API_KEY", "planted-key")
        fetch_pages(urls, url, today=lambda: "20260102", sleep=waits.append)
    assert waits == [3.0, 3.0, 0.12, 0.12]
    assert "Authorization" not in seen[0][1]
    assert seen[-1][1]["Authorization"] == "Bearer planted-key"


def test_the_key_is_in_no_error_and_no_log(cache, monkeypatch, caplog):
    monkeypatch.setenv("JINA_API_KEY", "planted-key")
    with plain_server(always(500)) as (url, _), pytest.raises(UnreachableUpstreamError) as caught:
        fetch_pages(("https://a.example/1",), url, sleep=lambda _: None)
    assert "planted-key" not in str(caught.value) + caplog.text


def test_pages_are_rows_and_an_error_page_is_no_document(cache):
    bodies = {"/https://a.example/1": PAGE, "/https://a.example/2": b"Warning: Target URL returned error 404"}
    with plain_server(lambda path, _: (200, {}, bodies[path])) as (url, _):
        fetch_pages(("https://a.example/1", "https://a.example/2"), url, sleep=lambda _: None)
        origin = JinaReaderOrigin(urls=("https://a.example/1", "https://a.example/2"), endpoint=url)
        upstream = origin.resolve()
        rows = [row for file in upstream.files for _, row in origin.read(upstream, file)]
    assert reader_page(rows[0])
    with pytest.raises(BadRowError, match="not_a_page"):
        reader_page(rows[1])


def test_the_standard_library_is_capped_and_always_the_same():
    origin = LocalCodeOrigin(max_bytes=300_000)
    first, second = origin.resolve(), origin.resolve()
    assert first == second
    rows = list(origin.read(first, first.files[0]))
    assert 0 < sum(len(row["text"].encode()) for _, row in rows) <= 300_000
    assert all((Path(sysconfig.get_paths()["stdlib"]) / row["path"]).is_file() for _, row in rows)
    assert not any("/test/" in key for key, _ in rows)


def test_a_folder_can_be_named_and_an_undecodable_file_is_a_reject(tmp_path):
    (tmp_path / "good.py").write_text("x = 1\n")
    (tmp_path / "bad.py").write_bytes(b"x = '\xff'\n")
    (tmp_path / "note.txt").write_text("no code")
    origin = LocalCodeOrigin(packages=(str(tmp_path),))
    upstream = origin.resolve()
    rows = dict(origin.read(upstream, upstream.files[0]))
    assert rows[f"{tmp_path}/good.py"]["text"] == "x = 1\n"
    assert rows[f"{tmp_path}/bad.py"].reason == "not_utf8"


def test_what_a_folder_leaves_out_is_counted_and_said(tmp_path, monkeypatch):
    kept = {"a.py": "x = 1", "sub/b.py": "y = 2"}
    left_out = {"empty.py": "", "big.py": "x" * 400_001, "tests/test_a.py": "assert x", "build/lib/a.py": "x = 1"}
    hidden = {".venv/lib/z.py": "z", ".git/h.py": "h", "node_modules/n/n.py": "n"}
    for name, text in (kept | left_out | hidden).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    for package in (str(tmp_path), f"~/{tmp_path.name}", "./"):
        upstream = LocalCodeOrigin(packages=(package,)).resolve()
        assert upstream.note == (
            "left out: empty files 1 (empty.py), files over 400,000 bytes 1 (big.py), tests 1, "
            "folders named .git, .venv, build, node_modules"
        )
        rows = [row for _, row in LocalCodeOrigin(packages=(package,)).read(upstream, upstream.files[0])]
        assert {row["path"]: row["text"] for row in rows} == kept
    upstream = LocalCodeOrigin(packages=("./sub/b.py",)).resolve()
    assert [row["path"] for _, row in LocalCodeOrigin(packages=("./sub/b.py",)).read(upstream, upstream.files[0])] == [
        "b.py"
    ]


def test_names_that_are_no_utf8_are_read_and_shown_with_escapes(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.py")).write_text("x = 1")
    (tmp_path / os.fsdecode(b"\xe9.jsonl")).write_text('{"text": "row"}')
    origin = LocalCodeOrigin(packages=(str(tmp_path),))
    upstream = origin.resolve()
    assert [row["path"] for _, row in origin.read(upstream, upstream.files[0])] == ["caf\\udce9.py"]
    for path, found in ((str(tmp_path), "caf\\udce9.py"), (f"{tmp_path}/*.jsonl", None)):
        origin = FileOrigin(path=path)
        upstream = origin.resolve()
        assert upstream.fingerprint
        ((key, row),) = origin.read(upstream, upstream.files[0])
        assert key.isascii()
        assert row.get("path") == found


def test_an_edited_file_changes_the_fingerprint(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    before = LocalCodeOrigin(packages=(str(tmp_path),)).resolve()
    (tmp_path / "a.py").write_text("x = 2\n")
    assert LocalCodeOrigin(packages=(str(tmp_path),)).resolve().fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("package", "message"), [("no-such-package", "not installed"), ("/no/such/folder", "does not exist")]
)
def test_a_package_that_is_not_there_says_so(package, message):
    with pytest.raises(MissingUpstreamError, match=message):
        LocalCodeOrigin(packages=(package,)).resolve()


def test_an_installed_package_brings_its_version_and_license():
    origin = LocalCodeOrigin(packages=("httpx",))
    upstream = origin.resolve()
    _, row = next(iter(origin.read(upstream, upstream.files[0])))
    assert row["package"] == "httpx"
    assert row["version"]
    assert "BSD" in row["license"]
