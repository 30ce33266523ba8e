"""A TOML file of your sources: each entry works like one of the catalogue, or says what is wrong with it."""

import json
import os
import subprocess
import sys

import pytest

from codeft_assets.curation.ingest.drafts import BadRowError
from codeft_assets.curation.ingest.row_shapes import AnyShape
from codeft_assets.curation.quality.thresholds import NO_THRESHOLD, Threshold
from codeft_assets.origins.errors import MissingUpstreamError
from codeft_assets.own_sources import SourcesFileError, own_sources, read_sources
from codeft_assets.store.data_root import Store

EXCHANGE = [{"role": "user", "content": "Add."}, {"role": "assistant", "content": "a + b"}]


def write(tmp_path, text):
    path = tmp_path / "sources.toml"
    path.write_text(text)
    return path


def test_an_entry_needs_a_name_and_a_path_and_sees_paths_from_its_own_folder(tmp_path):
    (source,) = read_sources(write(tmp_path, '[[source]]\nname = "our-code"\npath = "code"\n'))
    assert source.origin.path == str(tmp_path / "code")
    with pytest.raises(
        MissingUpstreamError, match="code'; fix path of source 'our-code' in '.*sources.toml'; .* hf://"
    ):
        source.origin.resolve()
    assert (source.domain, source.format, source.license, source.has_sample) == ("code", "raw", "not stated", False)
    entry = '[[source]]\nname = "x"\npath = "s3://b/*.csv"\nformat = "instruct"\nprompt = "q"\nresponse = ["a", "b"]\n'
    (source,) = read_sources(
        write(
            tmp_path,
            entry
            + "weight = 2\nthreshold = 0.2\nmax_bad_fraction = 0.9\npriority = 5\n"
            + 'max_rows = 9\nnatural_languages = ["de"]\n',
        )
    )
    assert source.origin.path == "s3://b/*.csv"
    assert source.max_bad_fraction == 0.9
    assert source.natural_languages == ("de",)
    assert source.adapter == AnyShape(prompt=("q",), response=("a", "b"))
    assert (source.weight, source.priority, source.max_rows, source.threshold.value) == (2, 5, 9, 0.2)


@pytest.mark.parametrize(
    ("written", "threshold"),
    [
        ("0.5", Threshold(value=0.5)),
        ("1", Threshold(value=1)),
        ('"0.5"', Threshold(value=0.5)),
        ('"30%"', Threshold(quantile=0.3)),
        ('"none"', NO_THRESHOLD),
    ],
)
def test_a_threshold_is_written_as_in_the_launchpad(tmp_path, written, threshold):
    (source,) = read_sources(write(tmp_path, f'[[source]]\nname = "x"\npath = "y"\nthreshold = {written}\n'))
    assert source.threshold == threshold


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[[source]]\nname = "x"\npath = "y"\nthreshold = 30\n',
            "'x': threshold '30' is neither .* such as 30%, nor none",
        ),
        ("[[source]", r"sources.toml' is no TOML: .*line 1.*; fix that line"),
        ("[sources]\n", r"has \['sources'\]; it holds \[\[source\]\] entries"),
        ('[[source]]\nname = "x"\n', r"source 'x': \['path'\] missing; every \[\[source\]\] has a name and a path"),
        ('[[source]]\nname = "x"\npath = "y"\npaths = 1\n', r"unknown fields \['paths'\]; those that exist are \["),
        ('[[source]]\nname = "x"\npath = "y"\nweight = "2"\n', "weight = '2' is str; int or float is wanted"),
        ('[[source]]\nname = "x"\npath = "y"\nmax_rows = true\n', "max_rows = True is bool; int is wanted"),
        ('[[source]]\nname = "X y"\npath = "y"\n', "source name 'X y' must be lower-case words"),
        ('[[source]]\nname = "x"\npath = "y"\nformat = "poem"\n', "'poem' one of"),
    ],
)
def test_a_wrong_entry_says_what_is_wrong(tmp_path, text, message):
    with pytest.raises(SourcesFileError, match=message):
        read_sources(write(tmp_path, text))


def test_the_file_is_named_by_the_environment_or_lies_under_the_data_root(tmp_path, monkeypatch):
    monkeypatch.delenv("CODEFT_SOURCES", raising=False)
    monkeypatch.setenv("CODEFT_HOME", str(tmp_path))
    assert own_sources() == []
    write(tmp_path, '[[source]]\nname = "under-the-root"\npath = "x"\n')
    assert [source.name for source in own_sources()] == ["under-the-root"]
    monkeypatch.setenv("CODEFT_SOURCES", str(tmp_path / "gone.toml"))
    with pytest.raises(
        SourcesFileError,
        match="gone.toml' cannot be read: .*; name another one: CODEFT_SOURCES, or sources in codeft.toml",
    ):
        own_sources()


@pytest.mark.parametrize(
    "row",
    [
        {"messages": EXCHANGE},
        {"messages": json.dumps(EXCHANGE)},
        {"conversations": [{"from": "human", "value": "Add."}, {"from": "gpt", "value": "a + b"}]},
        {"instruction": "Add.", "output": "a + b"},
        {"question": "Add.", "answer": "a + b", "input": "", "n": 1},
    ],
)
def test_exchanges_of_the_usual_shapes_are_conversations(row):
    (draft,) = AnyShape()(row)
    assert [(message.role, message.content) for message in draft.messages] == [("user", "Add."), ("assistant", "a + b")]


def test_texts_take_their_language_from_a_path_and_a_head_and_body_are_one_function():
    (draft,) = AnyShape()({"content": "let a = 1", "path": "a.js"})
    assert (draft.text, draft.language, draft.messages) == ("let a = 1", "javascript", None)
    head, body = 'def one():\n    """Return 1."""\n', "    return 1\n"
    (draft,) = AnyShape(is_exchange=False)({"prompt": head, "canonical_solution": body})
    assert draft.text == 'def one():\n    """Return 1."""\n    return 1'
    with pytest.raises(BadRowError, match=r"missing_column: none of the columns \['text', .*row has \['x'\]"):
        AnyShape()({"x": 1})


@pytest.mark.slow
def test_your_rows_become_documents_by_the_ordinary_command(tmp_path):
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"prompt": f"Say {n}.", "response": str(n)}) + "\n" for n in range(5))
    )
    path = write(tmp_path, '[[source]]\nname = "our-rows"\npath = "rows.jsonl"\nformat = "instruct"\n')
    variables = {"CODEFT_SOURCES": str(path), "CODEFT_HOME": str(tmp_path / "home"), "DAGSTER_HOME": ""}
    command = [
        "-m",
        "dagster",
        "asset",
        "materialize",
        "--select",
        "documents/our-rows",
        "-m",
        "codeft_assets.definitions",
    ]
    done = subprocess.run(
        [sys.executable, *command], env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = Store(str(tmp_path / "home")).table("documents/our-rows").manifest().report
    assert (report.num_in, report.num_out) == (5, 5)
