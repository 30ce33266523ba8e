"""Signatures, candidates, verification: no chains, no unsupported removal, no order dependence."""

import random
import re

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from codeft_assets.curation.dedup import DedupParams, candidate_pairs, deduplicate
from codeft_assets.curation.documents import content_hash
from codeft_assets.curation.minhash import MinHashParams, jaccard, signatures

WORDS = [f"word{i}" for i in range(3000)]


def text_of(seed, length=120):
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def edit(text, num_edits, seed):
    words, rng = text.split(), random.Random(seed)
    for at in rng.sample(range(len(words)), num_edits):
        words[at] = f"edit{rng.randrange(10**6)}"
    return " ".join(words)


def shingles(text):
    words = re.findall(r"[A-Za-z0-9_\x80-\U0010ffff]+", text.lower())
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def similarity(a, b):
    left, right = shingles(a), shingles(b)
    return len(left & right) / len(left | right) if left | right else 0.0


def arrow(texts):
    return pa.array(texts, pa.large_string())


def frame(texts, priorities=None):
    rows = pl.DataFrame(
        {
            "document_id": [f"{i:05d}" for i in range(len(texts))],
            "content_hash": [content_hash(text) for text in texts],
            "priority": priorities or [1] * len(texts),
            "educational_value": [0.5] * len(texts),
            "num_chars": [len(text) for text in texts],
        },
        schema_overrides={"document_id": pl.String, "content_hash": pl.Binary},
    )
    return rows.hstack(signatures(arrow(texts), MinHashParams()))


def run(texts, priorities=None, params=None):
    by_id = {f"{i:05d}": text for i, text in enumerate(texts)}
    return deduplicate(frame(texts, priorities), lambda ids: arrow([by_id[i] for i in ids]), params or DedupParams())


def corpus(num_bases=150):
    texts = [text_of(i) for i in range(num_bases)]
    for i in range(num_bases):
        texts.append(edit(texts[i], i % 12, seed=1000 + i))
    return texts


def test_jaccard_equals_that_of_python_sets():
    texts = [*corpus(30), "short one", "Grüße aus Köln, wo es regnet und schneit", "a b c d e", "a b c d e"]
    left = np.arange(0, len(texts) - 1)
    measured = jaccard(arrow(texts), left, left + 1, MinHashParams())
    expected = [similarity(texts[i], texts[i + 1]) for i in left]
    assert measured == pytest.approx(expected, abs=1e-6)


def test_every_removed_document_is_similar_to_one_that_is_kept():
    texts = corpus()
    clusters, _ = run(texts)
    removed = set(clusters["document_id"])
    assert clusters.height > 50
    for row in clusters.iter_rows(named=True):
        assert row["representative_id"] not in removed
        exact = similarity(texts[int(row["document_id"])], texts[int(row["representative_id"])])
        assert exact >= 0.7
        assert row["jaccard"] == pytest.approx(exact, abs=1e-5)


def test_near_duplicates_of_high_similarity_are_all_found():
    texts = corpus()
    removed = set(run(texts)[0]["document_id"])
    missed = [i for i in range(150) if similarity(texts[i], texts[i + 150]) >= 0.85 and f"{i + 150:05d}" not in removed]
    # the longer of a pair is kept, so either may go
    missed = [i for i in missed if f"{i:05d}" not in removed]
    assert missed == []


def test_a_chain_of_small_edits_does_not_drag_its_end_away():
    texts = [text_of(1)]
    for step in range(12):
        texts.append(edit(texts[-1], 3, seed=step))  # each is near its neighbor, the last is far from the first
    clusters, _ = run(texts)
    assert similarity(texts[0], texts[-1]) < 0.3
    assert 1 < len(texts) - clusters.height < len(texts)


def test_numbers_tell_problems_apart():
    problem = "Tom has 12 apples and gives 5 apples to Ann who had 7 apples and eats 3 of them on 14 days"
    other = re.sub(r"\d+", lambda match: str(int(match[0]) + 31), problem)
    assert run([problem, other])[0].is_empty()


def test_whitespace_and_case_make_exact_duplicates():
    clusters, report = run(["The same  text\n as before", "the same text as before"])
    assert clusters["kind"].to_list() == ["exact_duplicate"]
    assert report.dropped == {"exact_duplicate": 1}


def test_the_source_with_the_lower_priority_number_is_kept():
    text = text_of(5)
    assert run([text, text], priorities=[9, 1])[0]["document_id"].to_list() == ["00000"]
    assert run([text, text], priorities=[1, 9])[0]["document_id"].to_list() == ["00001"]


def test_an_exact_duplicate_of_a_removed_document_points_to_the_keeper():
    base = text_of(3) + " and a longer end"
    near = edit(base, 2, seed=1)
    clusters, _ = run([base, near, near], priorities=[1, 2, 3])
    assert set(clusters["representative_id"]) == {"00000"}


def test_short_documents_have_exact_duplicates_only():
    clusters, _ = run(["one two three", "one two four", "one two three"])
    assert clusters["kind"].to_list() == ["exact_duplicate"]


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["a"]])
def test_empty_input_and_empty_documents_are_handled(texts):
    clusters, report = run(texts)
    assert report.num_in == len(texts)
    assert clusters.height == max(len(texts) - 1, 0)


def test_shuffled_input_gives_the_same_clusters():
    texts = corpus(60)
    rows = frame(texts)
    by_id = dict(zip(rows["document_id"], texts, strict=True))

    def texts_of(ids):
        return arrow([by_id[i] for i in ids])

    first, _ = deduplicate(rows, texts_of, DedupParams())
    second, _ = deduplicate(rows.sample(fraction=1, shuffle=True, seed=9), texts_of, DedupParams())
    assert first.equals(second)


def test_small_batches_give_the_same_clusters():
    texts = corpus(60)
    assert run(texts)[0].equals(run(texts, params=DedupParams(batch_documents=7))[0])


def test_a_bucket_of_many_copies_costs_a_linear_number_of_pairs():
    texts = [text_of(1)] * 3000
    rows = signatures(arrow(texts), MinHashParams())
    pairs = candidate_pairs(rows, MinHashParams().band_columns())
    assert len(pairs) <= 2 * len(texts)


def test_a_signature_depends_on_its_own_text_only():
    alone = signatures(arrow([text_of(7)]), MinHashParams())
    among = signatures(arrow([text_of(6), text_of(7), text_of(8)]), MinHashParams())
    assert alone.row(0) == among.row(1)


def test_a_higher_threshold_removes_less():
    texts = corpus()
    assert run(texts, params=DedupParams(threshold=0.95))[0].height < run(texts)[0].height


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01])
def test_a_threshold_outside_its_range_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        DedupParams(threshold=threshold)
