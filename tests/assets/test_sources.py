"""The catalogue: seventeen entries, each complete, and wrong ones refused."""

from dataclasses import replace

import pytest

from codeft_assets.curation.ingest.rows import adapt_rows
from codeft_assets.origins import SampleOrigin
from codeft_assets.origins.errors import MissingUpstreamError
from codeft_assets.sources import SOURCES, catalogue

ENTRY = SOURCES["o1-journey"]


def test_there_are_seventeen_sources():
    assert len(SOURCES) == 17


@pytest.mark.parametrize("name", [source.name for source in SOURCES.values() if source.has_sample])
def test_a_sample_gives_documents_and_its_accounts_balance(name):
    source, origin = SOURCES[name], SampleOrigin(name=name)
    upstream = origin.resolve()
    reports = [
        report
        for file in upstream.files
        for _, _, report in adapt_rows(origin.read(upstream, file), source.adapter, source.lineage(upstream.revision))
    ]
    assert sum(report.num_out for report in reports) >= 4
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
        ({"thoughts": "drop"}, "thoughts 'drop' is none of"),
        ({"weight": 0.0}, "weight 0.0 must be positive"),
    ],
)
def test_a_wrong_entry_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(ENTRY, **change)


def test_a_name_given_twice_is_refused():
    with pytest.raises(ValueError, match="named twice: \\['o1-journey'\\]"):
        catalogue((ENTRY, ENTRY))


def test_a_source_without_a_sample_says_which_file_to_write():
    with pytest.raises(MissingUpstreamError, match="write rows in upstream's shape as .*nothing-here.jsonl"):
        SampleOrigin(name="nothing-here").resolve()
