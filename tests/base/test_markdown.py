"""Markdown: no text of a document becomes markup, breaks its cell or closes its fence."""

import pytest

from codeft_assets.base.markdown import Markup, cell, escape, fence, table


def test_text_cannot_break_out_of_its_cell():
    assert (
        cell("a|b\n<img> [x](y) `c` *d* __e__ \\") == "a&#124;b &lt;img> &#91;x&#93;(y) 'c' \\*d\\* \\_\\_e\\_\\_ &#92;"
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("_d_ __e__ ___f___ _", r"\_d\_ \_\_e\_\_ \_\_\_f\_\_\_ \_"),
        ("~~d~~ ~e~", r"\~\~d\~\~ \~e\~"),
        ("(_d_)", r"(\_d\_)"),
        ("drop_reason num_9_x", "drop_reason num_9_x"),
    ],
)
def test_text_cannot_be_emphasis_and_a_name_stays_as_it_is(text, written):
    assert escape(text) == written


def test_values_are_written_for_people():
    assert [cell(value) for value in (None, 1234567, 1234.56789, True, "x")] == ["–", "1,234,567", "1,235", "True", "x"]


def test_markup_is_kept_but_stays_in_its_cell():
    assert cell(Markup("[a](b)|\n`c`")) == "[a](b)\\| `c`"


def test_a_table_aligns_numbers_to_the_right():
    assert table(("name", "count"), [("a", 1)], numeric=["count"]) == "| name | count |\n| --- | ---: |\n| a | 1 |"


def test_a_fence_is_longer_than_the_backticks_in_the_text():
    assert fence("a ```` b", "python") == "`````python\na ```` b\n`````"
