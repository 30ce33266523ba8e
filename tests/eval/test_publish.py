"""The published scoreboard: identical twice, with a complete history, and pages that no completion can change."""

import json
from html.parser import HTMLParser

import pytest

from codeft_eval.scoreboard.history import find_changes, read_history, record, significant_changes
from codeft_eval.scoreboard.pages import template_environment
from codeft_eval.scoreboard.publish import publish, read_leaked
from tests.eval.score_folders import write_scores

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'"
HOSTILE = [
    "<script>alert(1)</script>",
    "</pre></details><img src=x onerror=alert(1)>",
    "--><svg onload=alert(1)>",
    "<style>*{display:none}</style><iframe src=//evil.example></iframe>",
    '" onmouseover="alert(1)" x="',
    "&lt;script&gt;",
    "\x00\x1b[31m\u202etxet desrever\u2066",
    "lone surrogate \ud800 here",
    "${7*7} $x^2$ {{7*7}}",
]


@pytest.fixture
def output(tmp_path):
    return tmp_path / "board"


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_checkpoint_twice_gives_the_same_bytes_in_every_file(tmp_path, output):
    folder = write_scores(tmp_path / "now", [1, 2])
    publish([folder], output, num_tokens=1000)
    once = files(output)
    publish([folder], output, num_tokens=1000)
    assert files(output) == once
    assert len(once) == 8  # markdown, json, plot, two pages, and an entry of three files in the history


def test_the_same_checkpoint_twice_is_identical_also_after_another(tmp_path, output):
    first, second = write_scores(tmp_path / "a", [1]), write_scores(tmp_path / "b", [1, 2], model_hash="b" * 64)
    publish([first], output, num_tokens=1000)
    publish([second], output, num_tokens=2000)
    once = files(output)
    publish([second], output, num_tokens=2000)
    assert files(output) == once
    assert [entry.num_tokens for entry in read_history(output / "history")] == [1000, 2000]


def test_items_gained_and_lost_are_named_with_both_completions(tmp_path, output):
    publish([write_scores(tmp_path / "a", [1, 2], completions={3: "    return 'old'\n"})], output, num_tokens=1000)
    new = write_scores(tmp_path / "b", [2, 3], model_hash="b" * 64, completions={3: "    return 'new'\n"})
    done = publish([new], output, num_tokens=3000)
    (change,) = done.board.changes
    assert (change.gained, change.lost, change.n) == (("codeft/3",), ("codeft/1",), 44)
    assert (change.difference, change.p_value) == (0.0, 1.0)
    assert "## Since checkpoint `aaaaaaaaaaaaaaaa (1k tokens)`" in done.markdown
    assert "gained `codeft/3`" in done.markdown
    page = done.page.read_text()
    assert "return &#39;old&#39;" in page
    assert "return &#39;new&#39;" in page
    assert 'href="#Embedded-functions-codeft-3-0"' in page
    assert 'id="Embedded-functions-codeft-3-0"' in page
    assert 'id="Embedded-functions-codeft-3-0"' in done.samples_page.read_text()


def test_a_change_of_protocol_is_not_a_change_of_the_model(tmp_path):
    record(tmp_path / "history", [write_scores(tmp_path / "a", [1])], 1)
    entries = record(tmp_path / "history", [write_scores(tmp_path / "b", [2], model_hash="b" * 64)], 2)
    other = tmp_path / "history" / ("b" * 24) / "embedded" / "scores.json"
    document = json.loads(other.read_text())
    assert len(find_changes(entries)) == 1
    from dataclasses import replace

    from codeft_eval.scoring.scores import Measurement

    now = entries[1].scores["embedded"]
    newer = replace(entries[1], scores={"embedded": Measurement(replace(now.score, version=9), now.pass_rates)})
    assert find_changes([entries[0], newer]) == []
    assert document["version"] == 1


def test_only_a_step_larger_than_chance_is_filled(tmp_path):
    entries = []
    for name, passed in (("a", range(2)), ("b", range(3)), ("c", range(30))):
        entries = record(tmp_path / "h", [write_scores(tmp_path / name, list(passed), model_hash=name * 64)], 1)
    assert significant_changes(entries, "embedded") == [False, False, True]
    assert significant_changes(entries, "embedded", "bits_per_byte") == [False, False, False]
    better = write_scores(tmp_path / "d", range(30), model_hash="d" * 64, bits=1.9)
    entries = record(tmp_path / "h", [better], 1)
    assert significant_changes(entries, "embedded", "bits_per_byte") == [False, False, False, True]


def test_several_benchmarks_are_corrected_for_being_several(tmp_path):
    # 7 gained, none lost: p = 0.0156 alone
    entries = []
    for name, passed in (("a", []), ("b", range(7))):
        entries = record(tmp_path / "h", [write_scores(tmp_path / name, list(passed), model_hash=name * 64)], 1)
    assert find_changes(entries)[0].p_value == pytest.approx(2 / 2**7)


def test_an_interrupted_record_leaves_the_history_readable(tmp_path):
    record(tmp_path / "h", [write_scores(tmp_path / "a", [1])], 1)
    (tmp_path / "h" / ".tmp-1-incomplete").mkdir()
    (tmp_path / "h" / ".tmp-1-incomplete" / "entry.json").write_text("{")
    assert len(read_history(tmp_path / "h")) == 1


class Collected(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def test_no_completion_changes_a_page(tmp_path, output):
    texts = dict(enumerate(HOSTILE))
    publish([write_scores(tmp_path / "a", range(len(HOSTILE)))], output, num_tokens=1)
    hostile = publish(
        [write_scores(tmp_path / "b", [40], model_hash="b" * 64, completions=texts)], output, num_tokens=2
    )
    harmless = dict.fromkeys(texts, "x" * 20)
    plain_output = tmp_path / "plain"
    publish([write_scores(tmp_path / "a2", range(len(HOSTILE)))], plain_output, num_tokens=1)
    plain = publish(
        [write_scores(tmp_path / "c", [40], model_hash="b" * 64, completions=harmless)], plain_output, num_tokens=2
    )
    for name in ("page", "samples_page"):
        mine, other = (Collected(getattr(done, name).read_text()) for done in (hostile, plain))
        assert mine.tags == other.tags
        assert "script" not in mine.tags
        assert not [name for name, _ in mine.attributes if name.startswith("on")]
        assert POLICY in getattr(hostile, name).read_text()
        assert "alert(1)" in mine.text
    assert "\u202e" not in hostile.samples_page.read_text()


def test_unseen_characters_are_named():
    page = template_environment().from_string("{{ text }}").render(text="a\u202eb\x00\ud800\n<")
    assert page == "a⟨U+202E⟩b⟨U+0000⟩⟨U+D800⟩\n&lt;"


def test_a_page_loads_nothing(tmp_path, output):
    done = publish([write_scores(tmp_path / "a", [1])], output, num_tokens=5)
    for page in (done.page, done.samples_page):
        found = Collected(page.read_text())
        loads = [value for name, value in found.attributes if name in {"src", "srcset", "data", "action"}]
        links = [value for name, value in found.attributes if name == "href" and "://" in str(value)]
        assert loads == links == []
        assert not set(found.tags) & {"link", "img", "iframe", "object"}


def test_the_page_names_the_tokens_of_every_checkpoint_and_plots_them(tmp_path, output):
    publish([write_scores(tmp_path / "a", [1])], output, num_tokens=1_000_000)
    done = publish([write_scores(tmp_path / "b", [1], model_hash="b" * 64)], output, num_tokens=2_000_000)
    assert ["bits per byte" in panel for panel in done.progress] == [True, False]
    assert "1M" in done.progress[0]
    assert "Progress" in done.page.read_text()
    assert [point["num_tokens"] for point in json.loads(done.json)["history"]] == [1_000_000, 2_000_000]


def test_without_a_number_of_tokens_there_is_no_progress_plot(tmp_path, output):
    done = publish([write_scores(tmp_path / "a", [1])], output)
    assert done.progress == ()
    assert "tokens unknown" in done.markdown


def test_checkpoints_of_one_number_of_tokens_are_no_curve(tmp_path, output):
    publish([write_scores(tmp_path / "a", [1])], output, num_tokens=1_000_000)
    done = publish([write_scores(tmp_path / "b", [1], model_hash="b" * 64)], output, num_tokens=1_000_000)
    assert done.progress == ()


def test_leaked_items_come_from_a_file(tmp_path, output):
    file = tmp_path / "leaked.json"
    file.write_text(json.dumps({"embedded": ["codeft/0", "codeft/1"]}))
    done = publish([write_scores(tmp_path / "a", [1, 2])], output, leaked=file)
    row = done.board.rows[0]
    assert (row.num_leaked, row.clean.n if row.clean else 0) == (2, 42)
    assert "2 left out" in done.page.read_text()


@pytest.mark.parametrize("text", ["[]", "{", '{"embedded": 3}'])
def test_a_file_of_leaked_items_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "leaked.json").write_text(text)
    with pytest.raises(ValueError, match="is not JSON"):
        read_leaked(tmp_path / "leaked.json")


def test_a_run_that_is_not_finished_is_refused(tmp_path, output):
    with pytest.raises(ValueError, match="the run is not finished"):
        publish([tmp_path], output)


def test_scores_of_two_checkpoints_are_refused_before_anything_is_written(tmp_path, output):
    folders = [write_scores(tmp_path / "a", [1]), write_scores(tmp_path / "b", [1], model_hash="b" * 64)]
    with pytest.raises(ValueError, match="scores of 2 models"):
        publish(folders, output)
    assert not output.exists()


def test_a_measured_reference_is_paired_item_by_item(tmp_path, output):
    ours, theirs = write_scores(tmp_path / "a", range(10)), write_scores(tmp_path / "q", range(5, 25))
    done = publish([ours], output, references=[("Qwen2.5-Coder-0.5B", theirs)])
    row = done.board.rows[0]
    assert row.comparison is not None
    assert (row.comparison.kind, len(row.comparison.gained), len(row.comparison.lost)) == ("paired", 5, 15)
    assert row.ratio is not None
    assert row.ratio.value == 0.5
    assert "Qwen2.5-Coder-0.5B, measured" in done.markdown
