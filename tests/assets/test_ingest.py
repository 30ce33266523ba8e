"""Rows in = documents + rejects; identities are stable; a moved column stops the source at once."""

import pytest

from codeft_assets.curation.documents import DOCUMENT_SCHEMA, REJECT_SCHEMA, Message, content_hash, document_id
from codeft_assets.curation.ingest.adapters import PlainText, PromptResponse
from codeft_assets.curation.ingest.free_text import olympiad_text
from codeft_assets.curation.ingest.normalize import detect_language, language_from_path, normalize_text
from codeft_assets.curation.ingest.rows import Provenance, SchemaChangedError, adapt_rows

PROVENANCE = Provenance(source="s", revision="r1", domain="code", format="raw", license="MIT")


def rows(*texts):
    return [(f"file#{i}", {"text": text}) for i, text in enumerate(texts)]


def one(iterator):
    [result] = list(iterator)
    return result


def test_every_row_is_a_document_or_a_reject():
    documents, rejects, report = one(
        adapt_rows(rows("good", None, "fine", 3, ""), PlainText(columns=("text",)), PROVENANCE)
    )
    assert (documents.num_rows, rejects.num_rows) == (2, 3)
    assert report.num_in == 5
    assert report.dropped == {"null_value": 1, "wrong_type": 1, "empty_text": 1}
    assert documents.schema.equals(DOCUMENT_SCHEMA)
    assert rejects.schema.equals(REJECT_SCHEMA)


def test_a_reject_keeps_its_row_its_reason_and_the_detail():
    rejects = one(adapt_rows(rows("good", 3), PlainText(columns=("text",)), PROVENANCE))[1].to_pylist()
    assert rejects == [
        {
            "source": "s",
            "revision": "r1",
            "source_row": "file#1",
            "reason": "wrong_type",
            "detail": "column 'text' is int, not text: '3'",
            "row": '{"text": 3}',
        }
    ]


def test_an_unparsable_line_is_a_reject():
    report = one(
        adapt_rows([("f#0", {"text": "x"}), ("f#1", {"malformed": "{oops"})], PlainText(columns=("text",)), PROVENANCE)
    )[2]
    assert report.dropped == {"malformed_json": 1}


def test_parts_of_a_row_count_one_by_one():
    text = "1. " + "A problem that is long enough to be one. " * 2 + "\n\nshort"
    documents, rejects, report = one(adapt_rows(rows(text), olympiad_text, PROVENANCE))
    assert documents["source_row"].to_pylist() == ["file#0/0"]
    assert rejects["source_row"].to_pylist() == ["file#0/1"]
    assert report.num_in == 2


def test_shards_hold_so_many_rows():
    shards = list(adapt_rows(rows(*"abcdefg"), PlainText(columns=("text",)), PROVENANCE, rows_per_shard=3))
    assert [documents.num_rows for documents, _, _ in shards] == [3, 3, 1]


def test_a_moved_column_stops_the_source_and_names_what_was_found():
    moved = [("f#0", {"prompt": "Q", "reply": "A"})] * 30
    with pytest.raises(
        SchemaChangedError, match="source 's'.*'question'.*row has \\['prompt', 'reply'\\]; fix the entry"
    ):
        list(adapt_rows(moved, PromptResponse(prompt=("question",), response=("answer",)), PROVENANCE))


def test_one_row_without_the_column_does_not_stop_the_source():
    documents = one(adapt_rows([("f#0", {}), *rows("fine")], PlainText(columns=("text",)), PROVENANCE))[0]
    assert documents.num_rows == 1


def test_an_id_depends_on_source_and_row_not_on_revision_or_text():
    assert document_id("s", "file#1") == document_id("s", "file#1")
    assert document_id("s", "file#1") != document_id("t", "file#1")
    later = Provenance(source="s", revision="r2", domain="code", format="raw", license="MIT")
    ids = [
        one(adapt_rows(rows(t), PlainText(columns=("text",)), at))[0]["document_id"]
        for t, at in (("a", PROVENANCE), ("b", later))
    ]
    assert ids[0] == ids[1]


def test_the_content_hash_folds_case_and_white_space_only():
    assert content_hash("A  b\n\tc ") == content_hash("a b c")
    assert content_hash("a b c") != content_hash("a b d")
    assert content_hash("abc 1") != content_hash("abc 2")


@pytest.mark.parametrize("text", ["a\r\nb\rc", "trail  \n\n", "nul\x00 bell\x07", "e\u0301", "\ufeffbom", "ﬁ stays"])
def test_normalizing_twice_changes_nothing(text):
    once = normalize_text(text)
    assert normalize_text(once) == once
    assert "\r" not in once
    assert "\x00" not in once


def test_normalizing_keeps_indentation_and_composes_accents():
    assert normalize_text("def f():\r\n\treturn 'e\u0301'  \r\n") == "def f():\n\treturn 'é'"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("```js\nlet x = 1;\n```", "javascript"),
        ("Use\n```rust\nfn main() {}\n```\nand\n```rust\nfn f() {}\n```\nnot\n```python\n1\n```", "rust"),
        ("def f(x):\n    return x\n", "python"),
        ("package main\n\nfunc main() {\n\tx := 1\n}\n", "go"),
        ("SELECT name FROM users;\n", "sql"),
        ("Just a sentence about lists.", "text"),
        ("", "text"),
    ],
)
def test_the_language_of_code_is_recognized(text, language):
    assert detect_language(text) == language


def test_a_suffix_names_a_language_or_none():
    assert language_from_path("src/A.TSX") == "typescript"
    assert language_from_path("README") is None


def test_an_unknown_role_is_refused():
    with pytest.raises(ValueError, match="role 'tool' is not one of"):
        Message("tool", "x")
