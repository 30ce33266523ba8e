"""Rows in = documents + rejects; identities are stable; a moved column stops the source at once."""

from dataclasses import replace

import pytest

from codeft_assets.curation.documents import (
    DOCUMENT_SCHEMA,
    REJECT_SCHEMA,
    Message,
    content_hash,
    document_id,
    folded_hash,
)
from codeft_assets.curation.ingest.adapters import PlainText, PromptResponse, whole_object
from codeft_assets.curation.ingest.drafts import Reject
from codeft_assets.curation.ingest.free_text import olympiad_text
from codeft_assets.curation.ingest.normalize import normalize_text
from codeft_assets.curation.ingest.programming_languages import detect_language, language_from_path
from codeft_assets.curation.ingest.rows import Provenance, SchemaChangedError, adapt_rows

UNPARSED = Reject(part="", reason="malformed_json", detail="no JSON", text="{oops")
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
            "document_id": document_id("s", '{"text": 3}'),
            "source": "s",
            "revision": "r1",
            "source_row": "file#1",
            "reason": "wrong_type",
            "detail": "column 'text' is int, not text: '3'",
            "row": '{"text": 3}',
        }
    ]


def test_an_unparsable_line_is_a_reject():
    report = one(adapt_rows([("f#0", {"text": "x"}), ("f#1", UNPARSED)], PlainText(columns=("text",)), PROVENANCE))[2]
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


def ids(given, provenance=PROVENANCE):
    documents = one(adapt_rows(given, PlainText(columns=("text",)), provenance))[0]
    return dict(zip(documents["text"].to_pylist(), documents["document_id"].to_pylist(), strict=True))


def test_an_id_survives_inserted_rows_other_files_and_other_revisions():
    before = ids(rows("a", "b", "c"))
    assert ids([("f#0", {"text": "new"}), ("g/f#9", {"text": "c", "note": 1}), ("f#1", {"text": "a"})]).items() >= {
        ("a", before["a"]),
        ("c", before["c"]),
    }
    later = replace(PROVENANCE, revision="r2")
    assert ids(rows("a", "b", "c"), later) == before
    assert ids(rows("a"), replace(PROVENANCE, source="t"))["a"] != before["a"]


def test_a_row_with_a_name_upstream_keeps_its_id_when_its_text_changes():
    named = replace(PROVENANCE, id_column="path")
    old, new = ({"path": "a.py", "text": text} for text in ("x = 1", "x = 2"))
    assert ids([("f#0", old)], named)["x = 1"] == ids([("f#7", new)], named)["x = 2"]
    unnamed = {"path": None, "text": "x = 1"}
    assert ids([("f#0", unnamed)], named)["x = 1"] == ids([("f#0", old)])["x = 1"]


def test_a_reject_has_the_same_id_wherever_it_stands():
    adapter = PlainText(columns=("text",))
    (first,), (second,) = (
        one(adapt_rows([(key, {"text": None}), ("f#2", {"text": "x"})], adapter, PROVENANCE))[1][
            "document_id"
        ].to_pylist()
        for key in ("f#0", "g#5")
    )
    assert first == second


def test_half_a_surrogate_pair_is_a_reject_and_its_neighbours_are_documents():
    documents, rejects, _ = one(adapt_rows(rows("a", "b\ud83d", "c"), PlainText(columns=("text",)), PROVENANCE))
    assert documents["text"].to_pylist() == ["a", "c"]
    (reject,) = rejects.to_pylist()
    assert (reject["reason"], reject["row"]) == ("not_unicode", '{"text": "b\\ud83d"}')


def test_a_shard_ends_at_so_many_bytes_of_text():
    texts = ["x" * 1000] * 10
    shards = list(adapt_rows(rows(*texts), PlainText(columns=("text",)), PROVENANCE, bytes_per_shard=2500))
    assert [documents.num_rows for documents, _, _ in shards] == [3, 3, 3, 1]


def test_a_small_file_beside_the_data_is_rejected_row_by_row():
    report = one(adapt_rows([("stats.json#0", {"num_rows": 7})], PlainText(columns=("text",)), PROVENANCE))[2]
    assert report.dropped == {"missing_column": 1}


def test_a_row_nested_too_deeply_is_a_reject():
    nested: object = "x"
    for _ in range(5000):
        nested = [nested]
    report = one(adapt_rows([("f#0", {"steps": nested, "problem": "p", "answer": "a"})], whole_object, PROVENANCE))[2]
    assert report.dropped == {"nested_too_deeply": 1}


def test_the_content_hash_is_exact_and_the_folded_one_folds_case_and_white_space_only():
    assert folded_hash("A  b\n\tc ") == folded_hash("a b c")
    assert folded_hash("abc 1") != folded_hash("abc 2")
    assert content_hash("if a:\n    b\n    c") != content_hash("if a:\n    b\nc")
    assert content_hash("Node") != content_hash("node")


@pytest.mark.parametrize("text", ["a\r\nb\rc", "trail  \n\n", "nul\x00", "\n \n    e\u0301", "\ufeffbom", "\ufeff\n"])
def test_normalizing_twice_changes_nothing(text):
    once = normalize_text(text)
    assert normalize_text(once) == once
    assert not {"\r", "\x00", "\ufeff"} & set(once)


@pytest.mark.parametrize(
    "program",
    [
        "    return 1\n    # the body of a function",
        's = """two blanks  \nand a tab\t\n"""',
        "s = 'e\u0301'  # two code points",
        "bell = '\x07\x1b[0m'",
        "def f():\n\x0c\n    pass",
    ],
)
def test_a_program_keeps_its_meaning(program):
    assert normalize_text(f"\n\n{program}\n") == program


def test_duplicates_are_found_whichever_way_accents_are_written():
    assert folded_hash("e\u0301tude  A") == folded_hash("\u00e9tude a")


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
