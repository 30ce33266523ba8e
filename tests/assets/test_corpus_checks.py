"""The checks that block a corpus: they find what got through, and nothing that deduplication rightly keeps."""

import polars as pl
import pytest

from codeft_assets.curation.corpus.mixture import TRAIN, VALIDATION
from codeft_assets.defs.checks.corpus import no_duplicates, validation_is_held_out
from codeft_assets.defs.workspace import Workspace
from tests.assets.test_train_and_score import commit

WORDS = [f"name{number}" for number in range(60)]
BELOW = "\n".join(f"if {word} < limit: total = total + {word}" for word in WORDS)
ABOVE = BELOW.replace("<", ">")
EDITED = BELOW.replace("name30", "other")
CASES = {
    "another operator": ([BELOW, ABOVE], ["python", "python"], True),
    "another programming language": ([BELOW, BELOW + " end"], ["ruby", "lua"], True),
    "one word edited": ([BELOW, EDITED], ["python", "python"], False),
    "a page of prose twice": ([BELOW, BELOW + " end"], ["text", "text"], False),
}


@pytest.fixture
def check(tmp_path):
    workspace = Workspace(root=str(tmp_path), profile="sample", workers=1)

    def run(asset_check, texts, languages):
        rows = {"document_id": ["a", "b"], "text": texts, "language": languages, "split": [TRAIN, VALIDATION]}
        commit(workspace.store, "corpus/mixture", pl.DataFrame(rows))
        return asset_check(workspace)

    return run


@pytest.mark.parametrize("asset_check", [no_duplicates, validation_is_held_out])
@pytest.mark.parametrize("name", CASES)
def test_a_corpus_is_blocked_by_what_deduplication_would_drop_and_by_nothing_else(check, asset_check, name):
    texts, languages, passes = CASES[name]
    result = check(asset_check, texts, languages)
    assert result.passed == passes
    assert result.metadata["num_duplicate_pairs"].value == (0 if passes else 1)
