"""Signatures, candidates, verification: no chains, no unsupported removal, no order dependence."""

import random
import re
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import xxhash

from codeft_assets.curation.dedup.candidates import candidate_pairs
from codeft_assets.curation.dedup.deduplicate import DedupParams, deduplicate
from codeft_assets.curation.dedup.minhash import MinHashParams, compute_signatures
from codeft_assets.curation.dedup.shingle_sets import jaccard
from codeft_assets.curation.documents import content_hash
from codeft_assets.curation.kernels import words

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


def prose(texts):
    return pl.Series(["text"] * len(texts))


def frame(texts, priorities=None, languages=None):
    rows = pl.DataFrame(
        {
            "document_id": [f"{i:05d}" for i in range(len(texts))],
            "content_hash": [content_hash(text) for text in texts],
            "language": languages or ["text"] * len(texts),
            "priority": priorities or [1] * len(texts),
            "educational_value": [0.5] * len(texts),
            "num_chars": [len(text) for text in texts],
        },
        schema_overrides={"document_id": pl.String, "content_hash": pl.Binary, "language": pl.String},
    )
    return rows.hstack(compute_signatures(arrow(texts), MinHashParams()))


def find(rows, texts, params=None, cached=None, batch=50):
    """Deduplicate ``rows``, whose ids number ``texts``."""

    ids = rows["document_id"]

    def read_texts(wanted):
        for first in range(0, len(wanted), batch):
            chosen = wanted[first : first + batch]
            yield np.arange(first, first + len(chosen)), arrow([texts[int(ids[int(row)])] for row in chosen])

    def band_keys(band):
        return rows[f"band_{band}"].to_numpy()

    return deduplicate(rows, band_keys, read_texts, params or DedupParams(), cached)


def run(texts, priorities=None, params=None):
    found = find(frame(texts, priorities), texts, params)
    return found.clusters, found.report


def corpus(num_bases=150):
    texts = [text_of(i) for i in range(num_bases)]
    for i in range(num_bases):
        texts.append(edit(texts[i], i % 12, seed=1000 + i))
    return texts


def test_jaccard_equals_that_of_python_sets():
    texts = [*corpus(30), "short one", "Grüße aus Köln, wo es regnet und schneit", "a b c d e", "a b c d e"]
    left = np.arange(0, len(texts) - 1)
    measured = jaccard(arrow(texts), prose(texts), left, left + 1, MinHashParams().shingle_words)
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


def test_a_document_whose_neighbor_went_is_compared_with_what_that_one_went_for():
    first = text_of(7)
    texts = [first, edit(first, 2, seed=1), edit(first, 2, seed=2)]
    rows = frame(texts, priorities=[0, 1, 2])
    # signatures that miss the first and the last: only neighbors share a band
    keys = {f"band_{band}": [10 * band, 10 * band + 1, 10 * band + 2] for band in range(16)}
    keys |= {"band_0": [1, 1, 2], "band_1": [3, 4, 4]}
    blind = rows.with_columns(pl.Series(name, values, dtype=pl.UInt64) for name, values in keys.items())
    clusters = find(blind, texts).clusters
    assert dict(clusters.select("document_id", "representative_id").iter_rows()) == {"00001": "00000", "00002": "00000"}


def test_numbers_tell_problems_apart():
    problem = "Tom has 12 apples and gives 5 apples to Ann who had 7 apples and eats 3 of them on 14 days"
    other = re.sub(r"\d+", lambda match: str(int(match[0]) + 31), problem)
    assert run([problem, other])[0].is_empty()


def test_an_exact_duplicate_is_the_same_byte_for_byte_and_prose_of_the_same_words_is_near():
    clusters, report = run(["The same  text\n as before", "the same text as before", "the same text as before"])
    assert sorted(clusters["kind"]) == ["exact_duplicate", "near_duplicate"]
    assert report.dropped == {"exact_duplicate": 1, "near_duplicate": 1}


PROGRAM = """
class Counter:
    def __init__(self, limit):
        self.limit = limit
        self.total = 0

    def add(self, values, weight=1):
        for value in values:
            if value < self.limit:
                self.total += value * weight
                self.seen = True
        return self.total

    def describe(self):
        return f"{self.total} of {self.limit}"
"""


def removed_programs(first, second, languages=("python", "python")):
    return run_languages([first, second], list(languages)).height


def run_languages(texts, languages):
    return find(frame(texts, languages=languages), texts).clusters


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<", ">"),
        ("+=", "="),
        ("value * weight", "value ** weight"),
        ("self.total += value * weight", "(self.total) += value * weight"),
        ("                self.seen = True", "            self.seen = True"),
        ("        return self.total", "            return self.total"),
    ],
)
def test_programs_that_differ_in_an_operator_or_in_indentation_both_stay(old, new):
    assert old in PROGRAM
    assert removed_programs(PROGRAM, PROGRAM.replace(old, new, 1)) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("    ", "  "),
        lambda text: text.replace("    ", "\t"),
        lambda text: text.replace('"', "'"),
        lambda text: text.replace("(self, limit)", "(\n            self,\n            limit,\n    )"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "# the first line is a remark\n" + text,
    ],
)
def test_a_formatter_makes_no_other_program(change):
    assert change(PROGRAM) != PROGRAM
    assert removed_programs(PROGRAM, change(PROGRAM)) == 1


def test_braces_around_one_statement_are_a_style():
    body = "for (int x : left) ans = max(ans, x, limit); " * 3 + "return ans + first - second;"
    assert removed_programs(
        body, body.replace("ans = max(ans, x, limit);", "{ ans = max(ans, x, limit); }"), ("cpp",) * 2
    )
    sets = "seen = set_of(first, second, third) or {first, second, third, fourth} - other"
    assert not removed_programs(sets, sets.replace("{", "[").replace("}", "]"))


def test_indentation_counts_in_python_only():
    moved = PROGRAM.replace("        return self.total", "            return self.total", 1)
    assert removed_programs(PROGRAM, moved, ("java", "java")) == 1


TREE = """
class Node:
    def __init__(self, value, left=None, right=None):
        self.value = value
        self.left = left
        self.right = right


def traverse(node, found):
    if node is None:
        return found
{steps}
    return found


def main():
    tree = Node(2, Node(1), Node(3, Node(4), Node(5)))
    print(traverse(tree, []))
"""
LEFT, RIGHT, VISIT = "    traverse(node.left, found)", "    traverse(node.right, found)", "    found.append(node.value)"


@pytest.mark.parametrize(
    "alphabet", ["的一是在不了有和人这中大为上个国我以要他", "あいうえおかきくけこアイウエオ", "กขคงจฉชซญดตถทน"]
)
def test_near_duplicates_are_found_in_scripts_without_spaces(alphabet):
    text = "".join(random.Random(2).choices(alphabet, k=300))
    assert run([text_of(1), text, text[:150] + alphabet[0] + text[151:], text_of(2)])[0]["kind"].to_list() == [
        "near_duplicate"
    ]
    assert run([text, "".join(random.Random(3).choices(alphabet, k=300))])[0].is_empty()


def test_in_pre_and_postorder_are_three_programs():
    orders = [(LEFT, VISIT, RIGHT), (VISIT, LEFT, RIGHT), (LEFT, RIGHT, VISIT)]
    texts = [TREE.format(steps="\n".join(order)) for order in orders]
    assert similarity(texts[0], texts[1]) > 0.6
    assert run_languages(texts, ["python"] * 3).is_empty()


def test_the_same_solution_in_another_language_stays_and_its_own_near_duplicates_are_found():
    question = text_of(9)
    answers = [f"{question} def add(a, b): return a + b {n}" for n in range(9)]
    languages = ["python", "java", "go"] * 3
    clusters = run_languages(answers, languages)
    language_of = {f"{number:05d}": language for number, language in enumerate(languages)}
    pairs = clusters.select("document_id", "representative_id").iter_rows()
    assert clusters.height == 6
    assert all(language_of[gone] == language_of[kept] for gone, kept in pairs)


def test_the_bytes_of_another_language_are_an_exact_duplicate_all_the_same():
    assert run_languages([PROGRAM, PROGRAM], ["python", "text"])["kind"].to_list() == ["exact_duplicate"]


def test_a_cached_similarity_holds_for_its_language_only():
    texts = [PROGRAM, PROGRAM.replace("<", ">")]
    cached = find(frame(texts, languages=["text"] * 2), texts)
    assert cached.clusters.height == 1
    rows = frame(texts, languages=["python"] * 2)
    assert find(rows, texts, cached=cached.similarities).clusters.is_empty()


def test_the_source_with_the_lower_priority_number_is_kept():
    text = text_of(5)
    assert run([text, text], priorities=[9, 1])[0]["document_id"].to_list() == ["00000"]
    assert run([text, text], priorities=[1, 9])[0]["document_id"].to_list() == ["00001"]


def test_an_exact_duplicate_of_a_removed_document_points_to_its_representative():
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
    shuffled = rows.sample(fraction=1, shuffle=True, seed=9)
    assert find(rows, texts).clusters.equals(find(shuffled, texts, batch=7).clusters)


@pytest.mark.parametrize("max_keys", [1, 17, 100])
def test_grouping_few_keys_at_a_time_gives_the_same_clusters(max_keys):
    texts = corpus(60)
    assert run(texts)[0].equals(run(texts, params=DedupParams(max_keys=max_keys))[0])


def test_a_bucket_of_many_copies_costs_a_linear_number_of_pairs():
    texts = [text_of(1)] * 3000
    signed = compute_signatures(arrow(texts), MinHashParams())
    later, earlier = candidate_pairs(np.arange(len(texts)), lambda band: signed[f"band_{band}"].to_numpy(), 16)
    assert len(texts) - 1 <= len(later) <= 2 * len(texts)
    assert (later > earlier).all()


def test_cached_similarities_spare_reading_and_change_nothing():
    texts = corpus()
    rows = frame(texts)
    first = find(rows, texts)
    assert first.num_verified == first.num_pairs > 20
    again = find(rows, texts, cached=first.similarities)
    assert again.num_verified == 0
    assert again.clusters.equals(first.clusters)
    assert again.similarities.equals(first.similarities)


def test_after_a_change_only_the_pairs_of_changed_documents_are_read_again():
    texts = corpus()
    cached = find(frame(texts), texts).similarities
    changed = [texts[0], edit(texts[1], 1, seed=5), *texts[2:]]
    rows = frame(changed)
    incremental, full = find(rows, changed, cached=cached), find(rows, changed)
    assert incremental.clusters.equals(full.clusters)
    assert incremental.similarities.equals(full.similarities)
    assert 0 < incremental.num_verified <= 3


def test_each_text_is_read_once():
    texts = corpus()
    rows, asked = frame(texts), []

    def read_texts(wanted):
        asked.extend(wanted.tolist())
        yield np.arange(len(wanted)), arrow([texts[row] for row in wanted])

    deduplicate(rows, lambda band: rows[f"band_{band}"].to_numpy(), read_texts, DedupParams())
    assert len(asked) == len(set(asked)) > 40


def test_a_signature_depends_on_its_own_text_only():
    alone = compute_signatures(arrow([text_of(7)]), MinHashParams())
    among = compute_signatures(arrow([text_of(6), text_of(7), text_of(8)]), MinHashParams())
    assert alone.row(0) == among.row(1)


def test_a_higher_threshold_removes_less():
    texts = corpus()
    assert run(texts, params=DedupParams(threshold=0.95))[0].height < run(texts)[0].height


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01])
def test_a_threshold_outside_its_range_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        DedupParams(threshold=threshold)


def synthetic(num_documents, content, bands):
    """Return documents that have no text, with given content hashes and band keys."""
    number = np.arange(num_documents)
    return pl.DataFrame(
        {
            "document_id": number,
            "content_hash": content,
            "language": pl.Series(["text"]).new_from_index(0, num_documents),
            "priority": np.ones(num_documents, dtype=np.int32),
            "educational_value": np.zeros(num_documents, dtype=np.float32),
            "num_chars": np.full(num_documents, 100, dtype=np.uint32),
            "num_shingles": np.full(num_documents, 10, dtype=np.uint32),
            "shingle_sum": number.astype(np.uint64),
        }
    ), lambda band: bands[min(band, 1)]


def test_a_million_copies_leave_one_document_and_read_no_text():
    number = np.arange(10**6)
    rows, band_keys = synthetic(10**6, number // 10**6, [np.zeros(10**6, dtype=np.uint64)] * 2)

    def read_texts(wanted):
        raise AssertionError(f"{len(wanted)} texts were read")

    found = deduplicate(rows, band_keys, read_texts, DedupParams())
    assert found.report.dropped == {"exact_duplicate": 10**6 - 1}
    assert found.clusters["representative_id"].unique().to_list() == [0]


def test_one_band_that_1e5_documents_share_costs_two_pairs_and_one_reading_each():
    size = 10**5
    unique = np.random.default_rng(1).integers(0, 2**64, size, dtype=np.uint64)
    rows, band_keys = synthetic(size, np.arange(size), [np.full(size, 7, dtype=np.uint64), unique])
    num_read = []

    def read_texts(wanted):
        for first in range(0, size, 10**4):
            part = wanted[first : first + 10**4]
            num_read.append(len(part))
            yield np.arange(first, first + len(part)), arrow([f"{i} has its own {i * 7} words {i * 3}" for i in part])

    found = deduplicate(rows, band_keys, read_texts, DedupParams())
    assert found.num_pairs <= 2 * size
    assert sum(num_read) == size
    assert found.clusters.is_empty()


def test_a_document_of_50_megabytes_is_signed_whole():
    word = "thirty_two_characters_of_a_word "
    text = word * (50 * 10**6 // len(word))
    signed = compute_signatures(arrow([text + "the last words", text, "short"]), MinHashParams())
    assert signed["num_shingles"].to_list() == [len(text) // len(word) + 3 - 4, len(text) // len(word) - 4, 0]
    assert signed["shingle_sum"][0] != signed["shingle_sum"][1]


KERNELS = Path(words.__file__).parent


@pytest.mark.parametrize("caller", sorted(path.name for path in KERNELS.glob("*.py")))
def test_a_kernel_holds_the_hash_of_each_file_it_was_compiled_with(caller):
    # numba's cache sees a change of a kernel's own file only
    source = (KERNELS / caller).read_text()
    for imported in re.findall(r"from codeft_assets\.curation\.kernels\.(\w+) import", source):
        used = xxhash.xxh3_64_hexdigest((KERNELS / f"{imported}.py").read_bytes())
        assert f'{imported.upper()}_KERNEL = "{used}"' in source, f"write this hash into {caller}"


def test_no_text_is_read_of_documents_whose_shingles_are_the_same():
    text = text_of(1)
    texts = [text, text.replace(" ", ", "), text_of(2)]
    rows = frame(texts)

    def no_texts(wanted):
        raise AssertionError(f"the texts of {wanted} were asked for")

    found = deduplicate(rows, lambda band: rows[f"band_{band}"].to_numpy(), no_texts, DedupParams())
    assert found.clusters.select("document_id", "representative_id", "jaccard").rows() == [("00000", "00001", 1.0)]
    assert found.num_verified == 0
