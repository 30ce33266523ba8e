"""Metadata in the web UI: in the order of a reader's questions, in place, legible on both grounds."""

import re

import dagster as dg
import polars as pl
import pytest

from codeft_assets.base import markdown
from codeft_assets.defs.in_training_scores import SCORED_IN_TRAINING
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.web_ui import plots
from codeft_assets.defs.web_ui.narrow import COLUMN_CHARS, narrow
from codeft_eval.scoring.in_training import pass_at_1_key

LIGHT, DARK = (255, 255, 255), (18, 22, 29)


def svg_of(value):
    from urllib.parse import unquote

    return unquote(value.md_str.split("](data:image/svg+xml,")[1].removesuffix(")"))


def luminance(rgb):
    parts = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("color", [plots._INK, *plots._COLORS])
def test_every_color_of_a_plot_stands_out_on_light_and_on_dark(color):
    # WCAG 2.1, 1.4.11: graphical objects need 3:1
    rgb = tuple(int(digit * 2, 16) for digit in color.removeprefix("#"))
    assert min(contrast(rgb, LIGHT), contrast(rgb, DARK)) >= 3


@pytest.mark.parametrize(
    "plot",
    [
        plots.bar_plot({f"language-{i}": 10.0**i for i in range(40)}, title="languages", unit="tokens"),
        plots.histogram([pl.Series([i / 500 for i in range(500)])], title="value", unit="score", mark=0.5),
        plots.line_plot(
            {"loss": [(i, 9 / (i + 1)) for i in range(9000)]}, title="loss", x_label="step", y_label="nats"
        ),
        plots.stacked_bars({f"source-{i}": {"a": i + 1, "b": 2} for i in range(7)}, title="fates", unit="documents"),
    ],
    ids=["bars", "histogram", "line", "stacked"],
)
def test_a_plot_is_small_enough_to_be_shown_in_place(plot):
    assert len(plot.md_str) < plots.INLINE_CHARS


def test_bars_name_every_value_and_sum_up_the_smallest():
    svg = svg_of(plots.bar_plot({f"n{i}": i for i in range(1, 21)}, title="t", unit="u"))
    texts = re.findall(r"<text[^>]*>([^<]*)<", svg)
    assert texts[0] == "n20 20"
    assert texts[-1] == f"10 others {sum(range(1, 11))}"


def test_a_small_value_is_still_seen():
    assert "M160,24h1'" in svg_of(plots.bar_plot({"a": 1e9, "b": 1}, title="t", unit="u"))


def test_a_hostile_name_stays_text_in_a_plot():
    value = plots.bar_plot({"<script>alert(1)</script>": 1}, title="a](javascript:alert(1))", unit="u")
    assert "<script>" not in svg_of(value)
    assert value.md_str.count("](") == 1


def test_a_long_line_keeps_its_ends():
    svg = svg_of(plots.line_plot({"l": [(i, i) for i in range(1001)]}, title="t", x_label="x", y_label="y"))
    assert ">1k<" in svg
    assert f"M{plots._PLOT_LEFT},{plots._PLOT_HEIGHT}L" in svg


def test_scores_stand_above_the_protocol_by_which_they_were_made():
    given = {"prompt_end": "as written", "chat_protocol": "0-shot", "tool_versions": "python", "chat_tainted": False}
    assert [*md.in_reading_order(given | {"pass_at_1": 0.1, "chat_pass_at_1": 0.2})][:2] == [
        "pass_at_1",
        "chat_pass_at_1",
    ]


def test_metadata_stands_in_the_order_of_a_persons_questions():
    ordered = md.in_reading_order(
        {
            "seconds": 1.0,
            "path": dg.MetadataValue.path("/x"),
            "content_hash": "ab",
            "loss": dg.MetadataValue.md("![loss](data:image/svg+xml,x)"),
            "preview": dg.MetadataValue.md("a text"),
            "dropped_by_reason": dg.MetadataValue.md("nothing was dropped"),
            "num_out": 3,
            "recipe": "smoke",
        }
    )
    assert list(ordered) == [
        *("recipe", "num_out", "dropped_by_reason", "preview", "loss", "content_hash", "path", "seconds")
    ]


@pytest.mark.parametrize(("given", "shown"), [(0.08029560375848066, 0.0803), (137.73, 137.7), (0.0, 0.0)])
def test_a_number_has_the_digits_that_mean_something(given, shown):
    assert md.in_reading_order({"value": given})["value"].value == shown


def test_previews_of_documents_are_shown_in_place():
    rows = pl.DataFrame(
        {"source": ["a" * 20] * 5, "source_row": ["data/train.jsonl#1"] * 5, "text": ["word " * 999] * 5}
    )
    assert len(md.document_preview(rows).md_str) < plots.INLINE_CHARS


def test_code_in_a_preview_is_no_wider_than_the_page():
    assert max(map(len, md.excerpt("x = 1; " * 300, 5000).splitlines())) <= COLUMN_CHARS


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("| source | in |\n| --- | ---: |\n| a | 1 |", "| source | in |\n| --- | ---: |\n| a | 1 |"),
        ("| a |\n| --- |\n| stdlib/xml/\\_\\_init.py |", "| a |\n| --- |\n| stdlib/xml/\\_\\_init.py |"),
        ("low_educational_value", "low_educational_value"),
        ("| a |\n| --- |\n| " + "\\*" * 60 + " |", "| a |\n| --- |\n| " + "\\*" * 19 + "…" + "\\*" * 18 + " |"),
        ("a-" + "b" * 30 + "-" + "c" * 30, "a-" + "b" * 30 + "-" + "c" * 30),
        ("[stdlib/xml_a.py](https://x.org/stdlib/xml_a.py)", "[stdlib/xml_a.py](https://x.org/stdlib/xml_a.py)"),
        ("0" * 32, "0" * 32),
        ("x" * 30 + "y" * 30, "x" * 19 + "…" + "y" * 18),
        ("```sql\nSELECT " + "ab, " * 20 + "\n```", "```sql\nSELECT " + "ab, " * 9 + "\n" + "ab, " * 11 + "\n```"),
    ],
)
def test_text_fits_the_width_of_its_column(given, shown):
    assert narrow(given) == shown


def pixels(table):
    """Return the least width of a table on the page, as the browser measured it: 8.4 a character, and margins."""
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if set(line) - set("|-: ")]
    breakable = re.compile(r"(?<=\w-)|\s+|`")
    widths = [max(len(word) for cell in column for word in breakable.split(cell)) for column in zip(*rows, strict=True)]
    return sum(widths) * 8.4 + 16 * (len(widths) - 1) + 8 + 11


@pytest.mark.parametrize(
    ("names", "row"),
    [
        (
            ("item", "verdict", "completion"),
            ("composed/22", "failed: wrong_answer", "` return sorted(" + "x" * 50 + ")`"),
        ),
        (
            ("source", "in", "kept", "dropped"),
            ("code-instructions-122k", "16,000", "14,246", "near_duplicate 101"),
        ),
        (("a", "b"), ("x" * 60, "y" * 60)),
        (("a", "b"), ("list[" + ":" * 20 + "-1]", "y" * 60)),
    ],
)
def test_a_table_is_no_wider_than_its_column(names, row):
    shown = narrow(f"| {' | '.join(names)} |\n| {' | '.join(['---'] * len(row))} |\n| {' | '.join(row)} |")
    assert 300 < pixels(shown) <= 383
    assert shown.count("`") == "".join(row).count("`")


def test_a_single_point_is_a_dot_and_its_place_is_said_once():
    svg = svg_of(plots.line_plot({"a": [(200, 0.5)]}, title="t", x_label="x", y_label="y"))
    assert "h0' stroke-linecap='round' stroke-width='7'" in svg
    assert (svg.count(">200<"), svg.count(">0.5<")) == (1, 1)
    assert "stroke-linecap" not in svg_of(plots.line_plot({"a": [(0, 1), (1, 2)]}, title="t", x_label="x", y_label="y"))


def test_a_benchmark_asked_while_training_has_a_key_that_fits():
    assert all(len(md.short_key(pass_at_1_key(name))) * 8.4 <= 194 for name in SCORED_IN_TRAINING)


def test_what_is_copied_from_the_page_is_found():
    reasons = {"low_educational_value": 214, "non_code_natural_language": 12, "code_autogenerated": 3}
    table = md.in_reading_order({"dropped": md.dropped_table(reasons, 300)})["dropped"].md_str
    assert all(f"| {reason} |" in table for reason in reasons)


def test_a_long_word_in_a_later_column_does_not_hide_the_words_beside_it():
    row = ("Qwen2.5", "Qwen/Qwen2.5", "-", f"not measured: no folder {'long/' * 20}, and the Hub is not asked")
    shown = narrow(markdown.table(("model", "from", "benchmark", "pass@1"), [row]))
    assert "not measured: no folder" in shown
    assert "and the Hub is not asked" in shown


def test_a_word_that_lost_its_middle_is_whole_below():
    path = "src/" + "very_long_name/" * 5 + "end.py"
    shown = md.in_reading_order({"files": md.markdown_table(("path",), [(path,)])})
    assert "…" in shown["files"].md_str
    assert path in shown["files_all"].md_str
    url = dg.MetadataValue.url("https://example.org/" + path)
    [link] = md.in_reading_order({"source": url}).values()
    assert link.md_str.endswith(f"]({url.url})")
    assert "end.py](" in link.md_str


def test_a_wide_table_is_shown_with_the_columns_that_fit_and_whole_below():
    columns = [f"a column {i}" for i in range(9)]
    shown = md.in_reading_order({"wide": md.markdown_table(columns, [["twelve_chars"] * 9])})
    assert shown["wide"].md_str.splitlines()[0] == "| a column 0 | a column 1 | a column 2 |"
    assert shown["wide_all"].md_str.count("a column") == 9


def test_a_long_path_is_shown_from_its_room_in_the_data_root_on():
    path = "/home/someone/projects/with/a/long/name/.codeft/files/scoreboard/scoreboard.html"
    shown = md.in_reading_order({"page": dg.MetadataValue.path(path), "short": dg.MetadataValue.path("/a/files/b")})
    assert {key: value.path for key, value in shown.items()} == {
        "page": "files/scoreboard/scoreboard.html",
        "short": "/a/files/b",
    }


def test_of_a_long_table_the_first_rows_are_shown_in_place_and_the_whole_below_all_else():
    table = md.markdown_table(("source", "count"), ((f"source-{i}", i * 1000) for i in range(80)))
    shown = md.in_reading_order({"accounts": table, "seconds": 1.0, "path": dg.MetadataValue.path("/x")})
    assert list(shown) == ["accounts", "path", "seconds", "accounts_all"]
    assert shown["accounts_all"] == table
    lines = shown["accounts"].md_str.splitlines()
    assert len(shown["accounts"].md_str) < plots.INLINE_CHARS
    assert lines[-1] == "… and more in `accounts_all`, below"
    assert lines[:-2] == table.md_str.splitlines()[: len(lines) - 2]
    assert len(lines) > 30


@pytest.mark.parametrize("num_chars", [plots.INLINE_CHARS - 1, plots.INLINE_CHARS])
def test_a_table_is_cut_only_where_the_web_ui_would_hide_it(num_chars):
    head = "| a |\n| --- |\n" + "| 1 |\n" * 100 + "| "
    table = dg.MetadataValue.md(head + ("word " * 99)[: num_chars - len(head) - 3] + "! |")
    assert len(table.md_str) == num_chars
    assert ("table_all" in md.in_reading_order({"table": table})) == (num_chars == plots.INLINE_CHARS)


def test_metadata_ordered_twice_is_the_same():
    once = md.in_reading_order({"accounts": md.markdown_table(("n",), ((i,) for i in range(500)))})
    assert md.in_reading_order(once) == once


def test_of_a_long_page_all_paragraphs_and_whole_rows_are_shown():
    page = "# Page\n\nA paragraph.\n\n| a |\n|---|\n" + "| row |\n" * 300 + "\nMore."
    shown = md.in_reading_order({"page": dg.MetadataValue.md(page)})["page"].md_str
    assert shown.startswith("# Page\n\nA paragraph.\n\n| a |\n| --- |\n| row |\n")
    assert shown.endswith("| row |\n\n… and more in `page_all`, below")


def test_what_is_none_is_a_dash_in_a_table():
    assert md.markdown_table(("source", "threshold"), [("a", None)]).md_str.endswith("| a | – |")
