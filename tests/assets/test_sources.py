"""The catalogue: each entry is complete and has a sample that its adapter accepts; wrong entries are refused."""

import math
from dataclasses import replace

import pytest

from codeft_assets.curation.ingest.rows import adapt_rows
from codeft_assets.origins import SampleOrigin
from codeft_assets.origins.errors import MissingUpstreamError
from codeft_assets.origins.sample import SAMPLES_FOLDER
from codeft_assets.source import THINK_SPAN_POLICIES, sources_by_name
from codeft_assets.sources import SOURCES
from codeft_training.data import encoding

ENTRY = SOURCES["o1-journey"]
SAMPLED = [source.name for source in SOURCES.values() if source.has_sample]


def test_training_knows_the_policies_of_the_catalogue():
    assert encoding.THINK_SPAN_POLICIES == THINK_SPAN_POLICIES


def test_every_sample_belongs_to_an_entry():
    found = {path.stem for path in SAMPLES_FOLDER.iterdir() if path.name != "README.md"}
    assert found == set(SAMPLED)


@pytest.mark.parametrize("name", SAMPLED)
def test_the_adapter_accepts_the_rows_of_the_sample(name):
    source, origin = SOURCES[name], SampleOrigin(name=name)
    upstream = origin.resolve()
    reports = [
        report
        for file in upstream.files
        for _, _, report in adapt_rows(
            origin.read(upstream, file), source.adapter, source.provenance(upstream.revision)
        )
    ]
    assert sum(report.num_out for report in reports) >= 4
    assert not any("missing_column" in report.dropped for report in reports)
    assert sum(report.num_in for report in reports) <= 40


def test_every_source_says_what_it_is_where_from_and_under_which_license():
    for source in SOURCES.values():
        assert source.about.endswith(".")
        assert source.homepage.startswith("https://")
        assert source.license


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Bad Name"}, "name 'Bad Name' must be lower-case words joined by '-'"),
        ({"domain": "poetry"}, "domain 'poetry' must be one of"),
        ({"format": "xml"}, "format 'xml' one of"),
        ({"think_spans": "drop"}, "think_spans 'drop' is none of"),
        ({"weight": 0.0}, "weight 0.0 must be positive"),
        ({"weight": math.nan}, "weight nan must be positive"),
        ({"weight": math.inf}, "weight inf must be positive and finite"),
    ],
)
def test_a_wrong_entry_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(ENTRY, **change)


@pytest.mark.parametrize("name", ["", "a_b", "-a", "a-", "a--b", "a/b", "Ä"])
def test_a_name_is_words_that_an_asset_key_and_a_folder_may_hold(name):
    with pytest.raises(ValueError, match="must be lower-case words joined by '-'"):
        replace(ENTRY, name=name)


def test_a_name_given_twice_is_refused():
    with pytest.raises(ValueError, match="named twice: \\['o1-journey'\\]"):
        sources_by_name((ENTRY, ENTRY))


def test_a_source_without_a_sample_says_which_file_to_write():
    with pytest.raises(MissingUpstreamError, match="write rows in upstream's shape as .*nothing-here.jsonl"):
        SampleOrigin(name="nothing-here").resolve()
