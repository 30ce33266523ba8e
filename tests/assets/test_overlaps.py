"""Leaks are found in disguise; number tables, boilerplate and unrelated code are not."""

import json
import os
import random
import re
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from codeft_assets.curation.decontamination.overlaps import build_index, find_overlaps
from codeft_eval.benchmarks.catalogue import benchmark_texts

PROMPT = '''def merge_ranges(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge inclusive integer ranges that overlap or touch, and return them in ascending order.
    >>> merge_ranges([(5, 8), (1, 3), (4, 4)])
    [(1, 8)]
    """
'''
SOLUTION = """    merged = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
"""
FILLER = "Here is a program that a reader of our forum sent in yesterday and wants to have explained line by line.\n\n"


@pytest.fixture(scope="module")
def index():
    return build_index(
        pl.DataFrame(benchmark_texts("embedded")).select("benchmark", "task_id", "kind", "field", "text")
    )


def found(index, *texts):
    ids = pl.Series("document_id", [f"doc{i}" for i in range(len(texts))])
    return find_overlaps(ids, pa.array(texts, pa.large_string()), index)


def tasks(index, text):
    return set(found(index, text)["task_id"])


def renamed(text):
    for old, new in {"merge_ranges": "join", "ranges": "xs", "merged": "out", "start": "a", "end": "b"}.items():
        text = re.sub(rf"\b{old}\b", new, text)
    return text


@pytest.mark.parametrize(
    "text",
    [
        PROMPT + SOLUTION,
        FILLER + PROMPT + SOLUTION + "\nThank you for reading.",
        (PROMPT + SOLUTION).replace("\n", "\r\n"),
        (PROMPT + SOLUTION).replace("    ", "\t"),
        "".join(f"{line}  # note {i}\n" for i, line in enumerate(SOLUTION.splitlines())),
        "def merge_ranges(ranges):\n" + SOLUTION,
        SOLUTION,
        PROMPT,
    ],
    ids=["verbatim", "in a page", "crlf", "tabs", "comments", "no docstring", "solution only", "prompt only"],
)
def test_a_leak_is_found(index, text):
    assert "codeft/14" in tasks(index, text)


def test_renamed_identifiers_do_not_hide_a_leak(index):
    assert "codeft/14" in tasks(index, FILLER + renamed("def merge_ranges(ranges):\n" + SOLUTION))


def test_every_item_is_found_verbatim(index):
    texts = {}
    for row in benchmark_texts("embedded"):
        if row["field"] in {"prompt", "solution"}:
            texts[row["task_id"]] = texts.get(row["task_id"], "") + row["text"]
    matches = found(index, *texts.values())
    leaked = {(f"doc{i}", task) for i, task in enumerate(texts)}
    assert leaked <= set(matches.select("document_id", "task_id").iter_rows())


def test_the_span_says_where_the_leak_is(index):
    text = FILLER + PROMPT + SOLUTION
    row = found(index, text).filter(pl.col("field") == "prompt").row(0, named=True)
    span = text.encode()[row["span_start"] : row["span_end"]].decode()
    assert span.startswith("merge_ranges") or span.startswith("def merge_ranges")
    assert FILLER not in span


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(" ".join(str((i * 37 + j) % 100) for j in range(20)) for i in range(200)),
        "1, 2, 3, 4, 5, 6, 7, 8, 9, " * 50,
        "import os\nimport sys\n\n\ndef main():\n    args = sys.argv[1:]\n    if not args:\n        return 1\n"
        "    for name in args:\n        print(os.path.getsize(name))\n    return 0\n",
        "assert candidate(1) == 1\n" * 30,
        "",
        "short",
    ],
    ids=["number table", "digits", "program", "asserts", "empty", "short"],
)
def test_what_is_no_leak_is_not_found(index, text):
    assert found(index, text).is_empty()


def test_shuffled_words_of_a_prompt_are_no_leak(index):
    words = PROMPT.split()
    random.Random(1).shuffle(words)
    assert found(index, " ".join(words)).is_empty()


def test_hits_spread_over_a_document_are_no_leak(index):
    # each line of the solution stands somewhere, far from the others
    apart = "\n\n".join(line + "\n" + "import os\n" * 400 for line in SOLUTION.splitlines())
    assert found(index, apart).is_empty()


def test_pieces_of_a_prompt_far_apart_are_no_leak(index):
    words = PROMPT.split()
    pieces = [" ".join(words[i : i + 7]) for i in range(0, len(words), 7)]
    near, far = "\n".join(pieces), ("\n" + "spam and eggs " * 300).join(pieces)
    assert "codeft/14" in tasks(index, near)
    assert found(index, far).is_empty()


def test_what_many_tasks_share_is_boilerplate_and_no_leak():
    shared = "Write one function in Python that solves the task below and returns its result without printing anything."
    own = ["count the vowels of a word", "find the longest river", "add two small fractions", "sort five cards"]
    rows = [
        {
            "benchmark": "b",
            "task_id": f"b/{i}",
            "kind": "code",
            "field": "prompt",
            "text": f"{shared} Now {text} today.",
        }
        for i, text in enumerate(own)
    ]
    assert found(build_index(pl.DataFrame(rows)), f"{shared} Now draw a cat.").is_empty()
    assert tasks(build_index(pl.DataFrame(rows[:1])), f"{shared} Now draw a cat.") == {"b/0"}


@pytest.mark.parametrize("before", [16_000, 16_300, 16_384, 40_000])
def test_a_leak_is_found_wherever_it_lies(index, before):
    text = ("spam and eggs " * (before // 14 + 1))[:before]
    row = found(index, text + "\n" + SOLUTION).row(0, named=True)
    assert row["task_id"] == "codeft/14"
    assert before <= row["span_start"] < row["span_end"] <= before + 1 + len(SOLUTION)


def test_an_attribute_keeps_its_name_in_the_shape(index):
    other = SOLUTION.replace(".append", ".push").replace("sorted", "shuffle").replace("max(", "pick(")
    assert found(index, FILLER + renamed("def merge_ranges(ranges):\n" + SOLUTION)).height
    assert found(index, FILLER + renamed("def merge_ranges(ranges):\n" + other)).is_empty()


def test_idioms_in_a_real_instruct_set_are_no_leaks():
    folder = Path(os.environ.get("CODEFT_DEV_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    if not (folder / "benchmarks" / "HumanEval.jsonl").is_file():
        pytest.skip(f"no development data in {folder}; set CODEFT_DEV_DATA")
    rows = [json.loads(line) for line in (folder / "benchmarks" / "HumanEval.jsonl").read_text().splitlines()]
    fields = {"prompt": "prompt", "solution": "canonical_solution", "tests": "test"}
    items = pl.DataFrame(
        [
            {"benchmark": "he", "task_id": row["task_id"], "kind": "code", "field": field, "text": row[key]}
            for row in rows
            for field, key in fields.items()
        ]
    )
    instructions = json.loads((folder / "instruct" / "new_codealpaca.json").read_text())
    texts = ["\n".join(map(str, row.values())) for row in instructions]
    matches = found(build_index(items), *texts)
    assert matches["document_id"].n_unique() < len(texts) / 3000


def test_math_questions_are_found_by_their_words():
    question = "A farmer keeps forty hens and each hen lays five eggs a week which he sells by the dozen at the market"
    items = pl.DataFrame([{"benchmark": "gsm", "task_id": "7", "kind": "math", "field": "prompt", "text": question}])
    assert set(found(build_index(items), f"Problem 12. {question}. Answer: 200")["task_id"]) == {"7"}


EUCLID = "    while b:\n        a, b = b, a % b\n    return a\n"
STATEMENT = "Write a function that returns the greatest number which divides both of its arguments without a rest."


def one_task(statement, solution, kind="code"):
    fields = {"prompt": statement, "solution": solution}
    return build_index(
        pl.DataFrame(
            [
                {"benchmark": "b", "task_id": "1", "kind": kind, "field": field, "text": text}
                for field, text in fields.items()
            ]
        )
    )


def test_a_textbook_line_is_no_leak_unless_its_statement_stands_beside_it():
    index = one_task(STATEMENT, EUCLID)
    assert tasks(index, FILLER + EUCLID) == set()
    assert tasks(index, FILLER + EUCLID.replace("a, b", "x, y").replace("b, a % b", "y, x % y")) == set()
    half = "The greatest number which divides both of its arguments is found like this:\n\n"
    assert tasks(index, half + EUCLID) == {"1"}


def test_a_statement_of_words_is_found_where_one_in_seven_is_missing():
    story = (
        "Nora bakes thirty loaves in the morning and sells every loaf for four coins at the harbor. Her brother "
        "carries the coins home in a bag that holds at most ninety of them. How often does he walk until all are home?"
    )
    words = story.split()
    index = one_task(story, "Thirty times four are 120 coins, so he walks twice.", kind="math")
    for first in range(7):
        assert tasks(index, " ".join(word for i, word in enumerate(words) if i % 7 != first)) == {"1"}


def test_matches_do_not_depend_on_neighbors(index):
    leak = PROMPT + SOLUTION
    alone = found(index, leak)
    among = found(index, leak, "nothing here", FILLER)
    assert alone.equals(among)


COMPOSED_PROMPT = """def descending_positive(nums: list[int]) -> list[int]:
    \"\"\"Return the numbers in `nums` that are positive in descending order.\"\"\"
"""
COMPOSED_SOLUTION = "    return sorted([n for n in nums if n > 0], reverse=True)\n"


def composed_index(kind):
    item = {"benchmark": "composed", "task_id": "composed/1", "kind": kind}
    fields = {"prompt": COMPOSED_PROMPT, "solution": COMPOSED_SOLUTION}
    return build_index(pl.DataFrame([item | {"field": name, "text": text} for name, text in fields.items()]))


def test_the_same_program_with_other_names_and_numbers_is_a_leak_of_a_composed_exercise():
    text = "def descending_above(xs):\n    return sorted([x for x in xs if x > 20], reverse=True)\n"
    assert tasks(composed_index("composed"), text) == {"composed/1"}
    assert tasks(composed_index("code"), text) == set()  # any program for such an exercise


@pytest.mark.parametrize(
    "text",
    [
        "def all_positive(nums):\n    return all(n > 0 for n in nums)\n",
        "def ascending_even(nums):\n    return sorted([n for n in nums if n % 2 == 0])\n",
        "def descending_length(words):\n    return sorted(len(word) for word in words)[::-1]\n",
    ],
)
def test_a_part_of_a_composed_exercise_is_no_leak(text):
    assert tasks(composed_index("composed"), text) == set()
