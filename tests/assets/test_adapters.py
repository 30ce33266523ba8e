"""Every upstream shape, one real row each, and every way in which a row is no document."""

import json

import pytest

from codeft_assets.curation.ingest import adapters, free_text
from codeft_assets.curation.ingest.adapters import PlainText, PromptResponse
from codeft_assets.curation.ingest.drafts import BadRowError, Draft, Reject
from codeft_assets.curation.ingest.row_shapes import AnyShape


def turns(draft):
    return [(message.role, message.content) for message in draft.messages]


def test_a_plain_text_column_is_the_document_and_its_path_names_the_language():
    [draft] = PlainText(columns=("content", "text"), path_column="path")({"text": "fn main() {}\r\n", "path": "a/b.rs"})
    assert (draft.text, draft.language, draft.messages) == ("fn main() {}", "rust", None)


def test_a_prompt_and_its_response_are_two_turns_and_an_empty_system_turn_is_left_out():
    adapter = PromptResponse(prompt=("question",), response=("answer",), system="system_prompt")
    [draft] = adapter({"system_prompt": "", "question": "Q?", "answer": "A."})
    assert turns(draft) == [("user", "Q?"), ("assistant", "A.")]
    [draft] = adapter({"system_prompt": "Be brief.", "question": "Q?", "answer": "A."})
    assert turns(draft)[0] == ("system", "Be brief.")
    assert draft.text == "Be brief.\n\nQ?\n\nA."


@pytest.mark.parametrize(
    ("prompt", "given", "user"),
    [
        ("Pick a number between 10 and 100?", "10", "Pick a number between 10 and 100?\n\n10"),
        ("Sum it:\n1, 2", "1, 2", "Sum it:\n1, 2"),
        ("1, 2", "1, 2", "1, 2"),
    ],
)
def test_an_input_is_left_out_only_where_the_prompt_has_it_in_lines_of_its_own(prompt, given, user):
    adapter = PromptResponse(prompt=("instruction",), response=("output",), extra="input")
    [draft] = adapter({"instruction": prompt, "input": given, "output": "42"})
    assert turns(draft) == [("user", user), ("assistant", "42")]


@pytest.mark.parametrize(
    ("given", "user"), [("x = 1", "Fix it.\n\nx = 1"), ("Not applicable", "Fix it."), ("", "Fix it.")]
)
def test_alpaca_appends_an_input_that_says_something_and_never_reads_text(given, user):
    adapter = PromptResponse(prompt=("instruction",), response=("output",), extra="input")
    [draft] = adapter({"instruction": "Fix it.", "input": given, "output": "x = 2", "text": "prompt and answer again"})
    assert turns(draft) == [("user", user), ("assistant", "x = 2")]
    assert "again" not in draft.text


def test_four_columns_are_a_dialogue_of_two_turns():
    row = {"instruction": "a", "original_answer": "b", "follow_up_question": "c", "claude_response": "d"}
    [draft] = adapters.two_turn_dialogue(row)
    assert turns(draft) == [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]


def test_a_chain_of_thought_ends_before_the_answer_that_it_repeats():
    [draft] = adapters.long_chain_of_thought(
        {"question": "1+1?", "answer": "2", "longCOT": "One and one.\n#### 2", "idx": 0}
    )
    assert turns(draft)[1] == ("assistant", "<think>\nOne and one.\n</think>\n\n2")


@pytest.mark.parametrize(
    "thoughts",
    ["#### Step 1\nOne and one.\n#### Step 2\nSo it is 2.", "One and one.\n#### 2 apples", "#### 2\nbut why?"],
)
def test_a_chain_of_thought_keeps_headings_and_a_closing_line_that_says_more(thoughts):
    [draft] = adapters.long_chain_of_thought({"question": "1+1?", "answer": "2", "longCOT": thoughts})
    assert turns(draft)[1] == ("assistant", f"<think>\n{thoughts}\n</think>\n\n2")


def test_a_missing_answer_is_taken_from_behind_the_mark():
    [draft] = adapters.long_chain_of_thought({"question": "1+1?", "answer": "", "longCOT": "One and one.\n#### 2"})
    assert turns(draft)[1][1].endswith("</think>\n\n2")


def test_shared_conversations_go_by_name_not_by_position():
    records = [{"from": "human", "value": "Q", "weight": 0}, {"from": "gpt", "value": "A"}]
    [draft] = adapters.sharegpt_conversations({"conversations": records})
    assert turns(draft) == [("user", "Q"), ("assistant", "A")]
    [draft] = adapters.sharegpt_conversations({"conversations": [{"from": "system", "value": "S"}, *records]})
    assert [role for role, _ in turns(draft)] == ["system", "user", "assistant"]


def test_messages_in_a_json_string_lose_the_empty_system_turn_and_the_carriage_returns():
    records = [
        {"role": "system", "content": ""},
        {"role": "user", "content": "\nfirst\r\nsecond"},
        {"role": "assistant", "content": "A"},
    ]
    [draft] = adapters.json_messages({"messages": json.dumps(records)})
    assert turns(draft) == [("user", "first\nsecond"), ("assistant", "A")]


def test_messages_may_be_a_list_and_their_parts_too():
    parts = [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
    records = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": parts}]
    for messages in (records, json.dumps(records)):
        [draft] = adapters.json_messages({"messages": messages})
        assert turns(draft) == [("user", "Q"), ("assistant", "A\nB")]


def test_an_empty_turn_at_the_end_is_left_out_and_the_dialogue_is_kept():
    records = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}, {"from": "human", "value": " \n"}]
    [draft] = adapters.sharegpt_conversations({"conversations": records})
    assert turns(draft) == [("user", "Q"), ("assistant", "A")]
    with pytest.raises(BadRowError, match="empty_turn"):
        adapters.sharegpt_conversations({"conversations": [*records, {"from": "gpt", "value": "B"}]})


def test_calls_of_tools_and_their_answers_are_turns():
    records = [
        {"from": "human", "value": "Weather?"},
        {"from": "function_call", "value": '{"name": "forecast"}'},
        {"from": "observation", "value": "rain"},
        {"from": "gpt", "value": "It rains."},
    ]
    [draft] = adapters.sharegpt_conversations({"conversations": records, "tools": '[{"name": "forecast"}]'})
    assert turns(draft) == [
        ("system", 'You can call these functions:\n[{"name": "forecast"}]'),
        ("user", "Weather?"),
        ("assistant", '<tool_call>\n{"name": "forecast"}\n</tool_call>'),
        ("user", "<tool_response>\nrain\n</tool_response>"),
        ("assistant", "It rains."),
    ]
    call = {"id": "1", "type": "function", "function": {"name": "forecast", "arguments": "{}"}}
    records = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_call_id": "1"},
    ]
    [draft] = adapters.json_messages({"messages": records})
    assert turns(draft)[1:] == [
        ("assistant", '<tool_call>\n{"name": "forecast", "arguments": "{}"}\n</tool_call>'),
        ("user", "<tool_response>\nrain\n</tool_response>"),
    ]


NOTEBOOK = {
    "nbformat": 4,
    "metadata": {"kernelspec": {"language": "python", "name": "python3"}},
    "cells": [
        {"cell_type": "markdown", "source": ["# Sums\n", "Two of them."]},
        {
            "cell_type": "code",
            "source": ["x = 1  \n", "x + 1"],
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["printed\n"]},
                {"output_type": "execute_result", "data": {"text/plain": ["2"], "image/png": "iVBOR" * 9}},
                {"output_type": "display_data", "data": {"image/png": "iVBOR" * 9}},
            ],
        },
        {"cell_type": "code", "source": "", "outputs": []},
    ],
}


def test_a_notebook_is_its_cells_and_its_outputs_where_they_are_wanted():
    row = {"path": "a/sums.ipynb", "text": json.dumps(NOTEBOOK)}
    cells = "# Sums\nTwo of them.\n\n```python\nx = 1  \nx + 1\n```"
    [draft] = adapters.local_file(row)
    assert (draft.text, draft.language) == (cells, "python")
    assert AnyShape()(row) == [draft]
    [draft] = AnyShape(notebook_outputs=True)(row)
    assert draft.text == f"{cells}\n\n```output\nprinted\n```\n\n```output\n2\n```"
    old = {
        "worksheets": [
            {"cells": [{"cell_type": "heading", "level": 2, "source": "H"}, {"cell_type": "code", "input": "1"}]}
        ]
    }
    [draft] = AnyShape()({"path": "b.ipynb", "text": json.dumps(old)})
    assert draft.text == "## H\n\n```python\n1\n```"
    for text, reason in (("{}", "malformed_notebook"), ("[1]", "malformed_notebook"), ('{"cells": []}', "empty_text")):
        with pytest.raises(BadRowError, match=reason):
            AnyShape()({"path": "b.ipynb", "text": text})


def test_a_whole_object_becomes_question_thoughts_and_answer():
    row = {"problem": "2 pipes?", "steps": [{"thought": "Add rates.", "calculation": "1/2"}], "final_answer": "2 hours"}
    [draft] = adapters.whole_object(row)
    assert turns(draft)[0] == ("user", "2 pipes?")
    answer = turns(draft)[1][1]
    assert answer.startswith("<think>")
    assert answer.endswith("</think>\n\n2 hours")
    assert "Add rates." in answer
    assert "1/2" in answer


def test_a_function_call_is_the_assistants_turn():
    row = {
        "messages": [{"role": "user", "content": "Weather?"}],
        "functions": [{"name": "forecast"}],
        "function_call": {"name": "forecast", "arguments": {"city": "Oslo"}},
    }
    [draft] = adapters.whole_object(row)
    assert [role for role, _ in turns(draft)] == ["system", "user", "assistant"]
    assert "Oslo" in turns(draft)[2][1]


def test_olympiad_text_is_split_and_what_does_not_split_is_rejected():
    text = (
        "Problem 1. Find all integers n such that n squared plus one is prime and say why.\n\n"
        "Solution. There is a long argument that we shorten here to one line.\n\n"
        "2. Show that among seven integers there are two whose difference divides by six.\n\n"
        "see figure"
    )
    first, second, third = free_text.olympiad_text({"text": text})
    assert turns(first)[0][1].startswith("Find all integers")
    assert turns(first)[1] == ("assistant", "There is a long argument that we shorten here to one line.")
    assert isinstance(second, Draft)
    assert second.messages is None
    assert isinstance(third, Reject)
    assert third.reason == "did_not_split"
    assert [piece.part for piece in (first, second, third)] == ["0", "1", "2"]


def test_a_reader_page_loses_preamble_images_and_navigation():
    body = (
        "Title: Paths\n\nURL Source: https://docs.example.org/p\n\nMarkdown Content:\n"
        "[Home](https://docs.example.org) | [API](https://docs.example.org/api)\n\n![Image 1: logo](l.png)\n\n"
        + "A path joins and splits itself and knows its parts. " * 6
        + "\n\n*   [Next](https://docs.example.org/n)\n"
    )
    [draft] = free_text.reader_page({"url": "https://docs.example.org/p", "body": body})
    assert draft.text.startswith("# Paths\n\nA path joins")
    assert "Home" not in draft.text
    assert "Image 1" not in draft.text
    assert "Next" not in draft.text


def page(content, *, title="Paths", warning=""):
    said = f"Warning: {warning}\n\n" if warning else ""
    return {"url": "u", "body": f"Title: {title}\n\nURL Source: u\n\n{said}Markdown Content:\n{content}"}


USEFUL = "A path joins and splits itself and knows its parts. " * 6


@pytest.mark.parametrize(
    "warning",
    [
        "This is a cached snapshot of the original page, consider retry with caching opt-out.",
        "This page contains shadow DOM that are currently hidden, consider enabling shadow DOM processing.",
    ],
)
def test_advice_of_the_reader_is_no_failure(warning):
    [draft] = free_text.reader_page(page(USEFUL, warning=warning))
    assert draft.text == f"# Paths\n\n{USEFUL.strip()}"


@pytest.mark.parametrize(
    ("title", "warning", "reason"),
    [
        ("Paths", "Target URL returned error 404: Not Found", "not_a_page"),
        ("Paths", "This page maybe requiring CAPTCHA, please make sure you are authorized", "not_a_page"),
        ("404 Not Found", "", "error_page"),
        ("Error 503: Service Unavailable", "", "error_page"),
        ("Page not found · GitHub Pages", "", "error_page"),
        ("Just a moment...", "", "error_page"),
        ("Access Denied", "", "error_page"),
    ],
)
def test_an_error_page_is_no_document_whether_the_reader_warns_or_not(title, warning, reason):
    with pytest.raises(BadRowError, match=reason):
        free_text.reader_page(page(USEFUL, title=title, warning=warning))


@pytest.mark.parametrize(
    ("title", "content"),
    [("404 Not Found - HTTP", USEFUL * 7), ("500 exercises with lists", USEFUL), ("Handling errors", USEFUL)],
)
def test_a_page_about_errors_is_a_document(title, content):
    assert free_text.reader_page(page(content, title=title))


def test_code_keeps_its_images_links_and_blank_lines():
    block = "```md\n![logo](l.png)\n[Home](h)\n\n\n    end  \n```"
    [draft] = free_text.reader_page(page(f"{USEFUL}\n\n{block}\n\nWrite `![alt](p)` ![x](p.png) so.\n\n\nEnd."))
    assert block in draft.text
    assert draft.text.endswith("Write `![alt](p)`  so.\n\nEnd.")


def test_a_local_file_takes_language_and_license_from_its_row():
    row = {
        "path": "json/tool.py",
        "package": "stdlib",
        "version": "3.11",
        "license": "PSF-2.0",
        "text": "import json\n",
    }
    [draft] = adapters.local_file(row)
    assert (draft.language, draft.license) == ("python", "PSF-2.0")


QA = PromptResponse(prompt=("question",), response=("answer",))
USER = {"role": "user", "content": "Q"}


@pytest.mark.parametrize(
    ("adapter", "row", "reason", "detail"),
    [
        (QA, {"question": "Q", "reply": "A"}, "missing_column", "row has \\['question', 'reply'\\]"),
        (QA, {"question": None, "answer": "A"}, "null_value", "'question' is null"),
        (QA, {"question": 17, "answer": "A"}, "wrong_type", "column 'question' is int, not text: '17'"),
        (QA, {"question": " \n ", "answer": "A"}, "empty_text", "column 'question' is empty"),
        (adapters.json_messages, {"messages": '[{"role": "user"'}, "malformed_json", "column 'messages'"),
        (adapters.json_messages, {"messages": json.dumps([USER])}, "no_exchange", "roles are \\['user'\\]"),
        (adapters.json_messages, {"messages": '["text"]'}, "malformed_turn", "needs 'role' and 'content'"),
        (adapters.json_messages, {"messages": '"text"'}, "wrong_type", "turns are str, not a list"),
        (adapters.sharegpt_conversations, {"turns": []}, "missing_column", "row has \\['turns'\\]"),
        (
            adapters.sharegpt_conversations,
            {"conversations": [{"from": "narrator", "value": "x"}]},
            "malformed_turn",
            "the unknown role 'narrator'",
        ),
        (adapters.sharegpt_conversations, {"conversations": None}, "wrong_type", "NoneType"),
        (adapters.whole_object, {"nothing": 1}, "missing_column", "row has \\['nothing'\\]"),
        (free_text.reader_page, {"body": '{"code": 429}'}, "not_a_page", "429"),
        (free_text.reader_page, {"body": "Title: x\n\nWarning: 404\n\nMarkdown Content:\n"}, "not_a_page", "404"),
        (
            free_text.reader_page,
            {"body": "Title: x\n\nMarkdown Content:\nshort"},
            "empty_text",
            "5 characters are left",
        ),
    ],
)
def test_a_bad_row_says_why(adapter, row, reason, detail):
    with pytest.raises(BadRowError, match=detail) as caught:
        adapter(row)
    assert caught.value.reason == reason
