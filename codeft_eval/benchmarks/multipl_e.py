"""MultiPL-E: HumanEval's items translated to other languages; their last test line is made to print a nonce.

The upstream files hold no solutions; the harness check uses those of ``multipl_e_solutions``. ``failing`` names the
items that no program can pass, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from codeft_eval.benchmarks.benchmark import Benchmark, Item, PublishedFigure, Rows
from codeft_eval.benchmarks.datafiles import DataFile
from codeft_eval.sandbox.native.toolchain import NONCE


def item_reader(language: str) -> Callable[[Rows, Rows], Iterable[Item]]:
    """Return the reader of one language's file."""

    def read(rows: Rows, shots: Rows) -> Iterable[Item]:
        for row in rows:
            yield _item(row, language)

    return read


def _item(row: Mapping[str, Any], language: str) -> Item:
    number = row["name"].split("_")[1]
    return Item(
        task_id=f"HumanEval/{number}",
        prompt=row["prompt"],
        solution="",
        test=_ENDINGS[language](row["tests"].rstrip()),
        source_prefix=row["prompt"],
        question=row["prompt"],
        language=language,
    )


def _at_the_end(line: str) -> Callable[[str], str]:
    return lambda test: f"{test}\n{line}\n"


def _before_brace(line: str, num_braces: int = 1) -> Callable[[str], str]:
    """Put a line before the brace that closes the test function."""

    def insert(test: str) -> str:
        place = len(test)
        for _ in range(num_braces):
            place = test.rindex("}", 0, place)
        return f"{test[:place]}{line}\n{test[place:]}\n"

    return insert


# The proof that a judge came to the end of its tests.
_ENDINGS: dict[str, Callable[[str], str]] = {
    "javascript": _at_the_end(f'console.log("\\n{NONCE}");'),
    "typescript": _at_the_end(f'console.log("\\n{NONCE}");'),
    "cpp": _before_brace(f'    puts("\\n{NONCE}");'),
    "java": _before_brace(f'    System.out.println("\\n{NONCE}");', num_braces=2),
    "go": _before_brace(f'\tif !t.Failed() {{\n\t\tfmt.Println("\\n{NONCE}")\n\t}}'),
    "rust": _before_brace(f'    println!("\\n{NONCE}");'),
    "shell": _at_the_end(f"printf '\\n%s\\n' '{NONCE}'"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Translation:
    """The differences between the languages."""

    suffix: str
    language: str
    title: str
    num_rows: int
    rows_sha256: str
    stops: tuple[str, ...]
    failing: Mapping[str, str] = field(default_factory=dict)


_SAME_CALLS = "the tests want true for (3, 4, 7) and false for (3.0, 4, 7), which are the same numbers here"
_RAW_BREAK = "the tests hold a line break inside a string, which is no program of this language"
_MIXED_TYPES = "the tests mix int and interface{} in one list, which the compiler refuses"
_NO_EQUALITY = "std::any has no equality, so a table of the tests' own calls is no program; a solution may pass"
_NO_TEXT = "the prompt's union is not made of a text literal, as the tests' own answers are; a solution may pass"
_AMBIGUOUS = "the tests give an int to the prompt's union of long and float, which the compiler refuses as ambiguous"
_OTHER_TYPE = "the tests want an Optional of a Pair where the signature says a Pair of Optionals"
_TRANSLATIONS = (
    _Translation(
        suffix="js",
        language="javascript",
        title="JavaScript",
        num_rows=161,
        rows_sha256="e609e97ef7ff997a7fdd2bcf9994d3eaae60ea67df22cd448e0aec7fbbfcac30",
        stops=("\nfunction ", "\n/*", "\n//", "\nconsole.log"),
        failing={"HumanEval/51": _RAW_BREAK, "HumanEval/92": _SAME_CALLS},
    ),
    _Translation(
        suffix="ts",
        language="typescript",
        title="TypeScript",
        num_rows=159,
        rows_sha256="c480aab1cf68002a0446e1e35bfba2301fa07b4ab9046ae837fcb5605c3c5542",
        stops=("\nfunction ", "\n/*", "\n//", "\nclass"),
        failing={"HumanEval/92": _SAME_CALLS},
    ),
    _Translation(
        suffix="cpp",
        language="cpp",
        title="C++",
        num_rows=161,
        rows_sha256="e1c1e3a2d3be342e9db3d3ecfab30131970df169459fc5f9523bc628da6fe75b",
        stops=("\n}",),
        failing={
            "HumanEval/22": _NO_EQUALITY,
            "HumanEval/92": _SAME_CALLS,
            "HumanEval/103": _NO_TEXT,
            "HumanEval/137": _AMBIGUOUS,
        },
    ),
    _Translation(
        suffix="java",
        language="java",
        title="Java",
        num_rows=158,
        rows_sha256="dde6e07e630024f386e789233a842abe29de107982f7e24ce87a277878e3fb86",
        stops=("\n    }\n",),
        failing={"HumanEval/92": _SAME_CALLS, "HumanEval/136": _OTHER_TYPE},
    ),
    _Translation(
        suffix="go",
        language="go",
        title="Go",
        num_rows=154,
        rows_sha256="e14bbaad695f02d71b92e6bc4b19838c9537a2560905a6cc786d9d158edd8f31",
        stops=("\nfunc", "struct", "\n// "),
        failing={"HumanEval/87": _MIXED_TYPES, "HumanEval/92": _SAME_CALLS},
    ),
    _Translation(
        suffix="rs",
        language="rust",
        title="Rust",
        num_rows=156,
        rows_sha256="d449d46736f8d4e6acede724f284891660cf91169295a8539c56e5247e04cb9c",
        stops=("\n}",),
        failing={"HumanEval/92": _SAME_CALLS},
    ),
    _Translation(
        suffix="sh",
        language="shell",
        title="Bash",
        num_rows=158,
        rows_sha256="181b1f3233c4715c2c8d49b38b8fbbb11d3c4b830ac40a1c4b810090b64f92b1",
        stops=("\n}",),
    ),
)


def _entry(translation: _Translation) -> Benchmark:
    return Benchmark(
        name=f"multipl_e_{translation.suffix}",
        title=f"MultiPL-E {translation.title}",
        kind="code",
        languages=(translation.language,),
        protocol="0-shot completion, greedy, the file's own stops; the tests run in a process of their own",
        version=3,
        data=DataFile(
            name=f"humaneval-{translation.suffix}.jsonl",
            columns=("name", "prompt", "tests", "stop_tokens"),
            rows_sha256=translation.rows_sha256,
            num_rows=translation.num_rows,
            origin="deepseek-ai/DeepSeek-Coder@2f9fd859 Evaluation/HumanEval/data",
        ),
        read=item_reader(translation.language),
        stops=translation.stops,
        max_new_tokens=768,
        published=PublishedFigure(
            benchmark=f"MultiPL-E {translation.title}",
            protocol="0-shot, greedy",
            difference="Qwen's harness accepts an exit status of 0, and its file may be of another version",
        ),
        failing_solutions=translation.failing,
    )


MULTIPL_E = tuple(map(_entry, _TRANSLATIONS))
"""The entries, for BENCHMARKS."""
