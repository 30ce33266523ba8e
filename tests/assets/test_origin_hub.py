"""The Hub through its real clients: one revision for everything, and a clear error for each fault."""

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeft_assets.origins import HubOrigin, SampleOrigin
from codeft_assets.origins.errors import (
    EmptyUpstreamError,
    GatedUpstreamError,
    MissingUpstreamError,
    TruncatedUpstreamError,
    UnreachableUpstreamError,
    UpstreamError,
)
from codeft_assets.origins.origin import TransientError, with_retries
from codeft_assets.sources import SOURCES
from tests.hub.server import seed_samples

ROWS = [{"question": f"q{i}", "answer": f"a{i}"} for i in range(5)]


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def read(origin, upstream=None):
    upstream = upstream or origin.resolve()
    return [pair for file in upstream.files for pair in origin.read(upstream, file)]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Retries are tried at once."""
    monkeypatch.setattr("codeft_assets.origins.origin.FIRST_WAIT_SECONDS", 0.0)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("data/train-00000-of-00001.parquet", parquet(ROWS)),
        ("data.jsonl", jsonl(ROWS)),
        ("data.jsonl.gz", gzip.compress(jsonl(ROWS))),
        ("data.json", json.dumps(ROWS).encode()),
    ],
    ids=["parquet", "jsonl", "jsonl.gz", "json"],
)
def test_every_file_format_gives_its_rows_with_their_keys(hub, path, content):
    hub.commit("me/set", {path: content, "README.md": "# set"})
    found = read(HubOrigin(repo_id="me/set"))
    assert found == [(f"{path}#{i}", row) for i, row in enumerate(ROWS)]


def test_everything_is_read_at_the_revision_that_was_resolved(hub):
    sha = hub.commit("me/set", {"train.jsonl": jsonl(ROWS)})
    origin = HubOrigin(repo_id="me/set")
    upstream = origin.resolve()
    hub.commit("me/set", {"train.jsonl": jsonl([{"question": "new", "answer": "new"}])})
    assert upstream.revision == sha
    assert [row for _, row in read(origin, upstream)] == ROWS


def test_a_source_can_be_held_back_at_a_revision(hub):
    old = hub.commit("me/set", {"train.jsonl": jsonl(ROWS)})
    hub.commit("me/set", {"train.jsonl": jsonl(ROWS[:1])})
    assert len(read(HubOrigin(repo_id="me/set", revision=old))) == 5


def test_an_edited_readme_is_a_new_revision_and_no_change(hub):
    hub.commit("me/set", {"train.jsonl": jsonl(ROWS), "README.md": "one"})
    before = HubOrigin(repo_id="me/set").resolve()
    hub.commit("me/set", {"README.md": "two"})
    after = HubOrigin(repo_id="me/set").resolve()
    assert before.revision != after.revision
    assert before.fingerprint == after.fingerprint


def test_a_changed_file_changes_its_fingerprint_only(hub):
    hub.commit("me/set", {"a.jsonl": jsonl(ROWS), "b.jsonl": jsonl(ROWS)})
    before = HubOrigin(repo_id="me/set").resolve()
    hub.commit("me/set", {"b.jsonl": jsonl(ROWS[:2])})
    after = HubOrigin(repo_id="me/set").resolve()
    assert before.fingerprint != after.fingerprint
    assert before.files[0] == after.files[0]
    assert before.files[1].fingerprint != after.files[1].fingerprint


def test_splits_are_found_by_file_names(hub):
    hub.commit("me/set", {"data/train-0.jsonl": jsonl(ROWS), "data/test-0.jsonl": jsonl(ROWS), "x.md": "no data"})
    assert [file.path for file in HubOrigin(repo_id="me/set").resolve().files] == ["data/train-0.jsonl"]
    hub.commit(
        "me/parts", {"data/code_-00000-of-00001.jsonl": jsonl(ROWS), "data/rag-00000-of-00001.jsonl": jsonl(ROWS)}
    )
    files = HubOrigin(repo_id="me/parts", splits=("code_", "mcq")).resolve().files
    assert [(file.path, file.split) for file in files] == [("data/code_-00000-of-00001.jsonl", "code_")]


def test_splits_are_found_as_the_card_declares_them(hub):
    hub.commit("me/set", {"first.jsonl": jsonl(ROWS), "second.jsonl": jsonl(ROWS)})
    hub.repos["me/set"].card = {
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "sec*.jsonl"}]}]
    }
    assert [file.path for file in HubOrigin(repo_id="me/set").resolve().files] == ["second.jsonl"]


def test_only_so_many_files_are_read(hub):
    hub.commit("me/set", {f"train-{i}.jsonl": jsonl(ROWS) for i in range(5)})
    assert len(HubOrigin(repo_id="me/set", max_files=2).resolve().files) == 2


def test_a_file_of_one_object_is_one_row(hub):
    hub.commit("me/set", {"one.json": json.dumps({"a": {"b": [1, "x", None]}})})
    assert read(HubOrigin(repo_id="me/set")) == [("one.json#0", {"a": {"b": [1, "x", None]}})]


def test_columns_of_mixed_types_keep_their_values(hub):
    rows = [{"question": "text", "answer": 17}, {"question": None, "answer": ["a"]}]
    hub.commit("me/set", {"train.jsonl": jsonl(rows)})
    assert [row for _, row in read(HubOrigin(repo_id="me/set"))] == rows


def test_a_bad_line_is_a_row_of_its_own(hub):
    hub.commit("me/set", {"train.jsonl": b'{"a": 1}\nnot json\n{"a": 2}\n'})
    first, bad, last = [row for _, row in read(HubOrigin(repo_id="me/set"))]
    assert (first, bad.reason, bad.text, last) == ({"a": 1}, "malformed_json", "not json\n", {"a": 2})


def test_a_renamed_dataset_is_followed_and_noted(hub):
    hub.commit("new/name", {"train.jsonl": jsonl(ROWS)})
    hub.commit("old/name", {"train.jsonl": b""})
    hub.repos["old/name"].moved_to = "new/name"
    origin = HubOrigin(repo_id="old/name")
    upstream = origin.resolve()
    assert "answered as 'new/name'; update repo_id" in upstream.note
    assert len(read(origin, upstream)) == 5


def test_a_former_id_answers_when_the_new_one_does_not(hub):
    hub.commit("former/name", {"train.jsonl": jsonl(ROWS)})
    origin = HubOrigin(repo_id="gone/name", former_ids=("former/name",))
    assert len(read(origin)) == 5


def test_several_configs_and_none_chosen_is_an_error_that_names_them(hub):
    hub.commit("me/set", {"first.jsonl": jsonl(ROWS), "second.jsonl": jsonl(ROWS)})
    hub.repos["me/set"].card = {
        "configs": [{"config_name": name, "data_files": f"{name}.jsonl"} for name in ("first", "second")]
    }
    with pytest.raises(MissingUpstreamError, match="configs \\['first', 'second'\\] and no default.*in sources.py"):
        HubOrigin(repo_id="me/set").resolve()
    files = HubOrigin(repo_id="me/set", config="second").resolve().files
    assert [file.path for file in files] == ["second.jsonl"]


def test_a_missing_dataset_says_where_to_look(hub):
    with pytest.raises(MissingUpstreamError, match="'me/none' was not found.*fix repo_id in sources.py"):
        HubOrigin(repo_id="me/none").resolve()


def test_a_gated_dataset_says_what_to_accept_and_what_to_set(hub):
    hub.commit("me/gated", {"train.jsonl": jsonl(ROWS)})
    hub.repos["me/gated"].gated = True
    origin = HubOrigin(repo_id="me/gated")
    upstream = origin.resolve()
    with pytest.raises(GatedUpstreamError, match="accept the terms at .*/me/gated, then set HF_TOKEN") as caught:
        read(origin, upstream)
    assert not caught.value.retryable


def test_a_dataset_without_data_files_is_empty(hub):
    hub.commit("me/empty", {"README.md": "nothing here", "train.arrow": b"ARROW1"})
    with pytest.raises(
        EmptyUpstreamError, match=r"no data files for splits \['train'\].*'train.arrow'\]; tables end in"
    ):
        HubOrigin(repo_id="me/empty").resolve()


@pytest.mark.parametrize("path", ["train.parquet", "train.jsonl"])
def test_a_truncated_file_is_not_taken_for_a_short_one(hub, path):
    content = parquet(ROWS * 50) if path.endswith("parquet") else jsonl(ROWS * 50)
    hub.commit("me/set", {path: content})
    origin = HubOrigin(repo_id="me/set")
    upstream = origin.resolve()
    hub.fail(r"/resolve/.*train", "truncate", times=50)
    with pytest.raises(UpstreamError) as caught:
        read(origin, upstream)
    assert isinstance(caught.value, TruncatedUpstreamError | UnreachableUpstreamError)
    assert caught.value.retryable
    assert path in str(caught.value)


def test_a_file_that_is_damaged_upstream_names_the_file(hub):
    hub.commit("me/set", {"train.parquet": parquet(ROWS)[:-20]})
    origin = HubOrigin(repo_id="me/set")
    with pytest.raises(TruncatedUpstreamError, match="train.parquet.*does not parse"):
        read(origin)


def test_a_server_error_is_tried_again(hub):
    hub.commit("me/set", {"train.jsonl": jsonl(ROWS)})
    hub.fail(r"^/api/datasets/me/set$", times=2, status=503)
    assert len(read(HubOrigin(repo_id="me/set"))) == 5


def test_a_server_that_stays_down_is_unreachable_and_worth_a_retry(hub):
    hub.commit("me/set", {"train.jsonl": jsonl(ROWS)})
    hub.fail(r"^/api/datasets/me/set$", times=100, status=500)
    with pytest.raises(UnreachableUpstreamError, match="failed 5 times") as caught:
        HubOrigin(repo_id="me/set").resolve()
    assert caught.value.retryable


def test_retry_after_is_honored():
    waits = []
    answers = iter([TransientError("status 429", 7.0), TransientError("status 500"), "fine"])

    def call():
        answer = next(answers)
        if isinstance(answer, TransientError):
            raise answer
        return answer

    assert with_retries(call, action="a test", sleep=waits.append) == "fine"
    assert waits[0] == 7.0
    assert 0.0 <= waits[1] <= 2.0


@pytest.mark.parametrize("name", [s.name for s in SOURCES.values() if isinstance(s.origin, HubOrigin)])
def test_the_hub_gives_the_documents_of_the_sample(hub, name):
    from codeft_assets.curation.ingest.rows import adapt_rows

    seed_samples(hub)
    source = SOURCES[name]

    def texts(origin):
        upstream = origin.resolve()
        return sorted(
            text
            for file in upstream.files
            for documents, _, _ in adapt_rows(origin.read(upstream, file), source.adapter, source.provenance("r"))
            for text in documents["text"].to_pylist()
        )

    assert texts(source.origin) == texts(SampleOrigin(name=name))
