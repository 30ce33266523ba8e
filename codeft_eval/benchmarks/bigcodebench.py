"""BigCodeBench (Zhuo et al., arXiv 2406.15877), split ``complete``: functions of many libraries.

An item whose libraries are not installed is unscored, so a score says how many of the items it is about.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from codeft_eval.benchmarks.benchmark import Benchmark, Item, Rows
from codeft_eval.benchmarks.datafiles import DataFile
from codeft_eval.benchmarks.humaneval import STOPS
from codeft_eval.benchmarks.python_chat import PYTHON_CHAT

_DISTRIBUTIONS = {
    "bs4": "beautifulsoup4", "Crypto": "pycryptodome", "cv2": "opencv-python-headless", "dateutil": "python-dateutil",
    "docx": "python-docx", "mpl_toolkits": "matplotlib", "PIL": "pillow", "skimage": "scikit-image",
    "sklearn": "scikit-learn", "yaml": "pyyaml",
}  # fmt: skip
"""Module -> the distribution that it is in, where their names differ."""
_LIBRARIES = (
    *("beautifulsoup4", "chardet", "cryptography", "faker", "flask", "folium", "geopandas", "geopy", "holidays"),
    *("levenshtein", "lxml", "matplotlib", "natsort", "networkx", "nltk", "numpy", "opencv-python-headless"),
    *("openpyxl", "pandas", "pillow", "prettytable", "psutil", "pycryptodome", "python-dateutil", "python-docx"),
    *("pytz", "pyyaml", "regex", "requests", "rsa", "scikit-image", "scikit-learn", "scipy", "seaborn", "shapely"),
    *("statsmodels", "sympy", "textblob", "texttable", "werkzeug", "wordcloud", "xmltodict"),
)


def read_bigcodebench(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield items of upstream's form; tests are the methods of its test case."""
    for row in rows:
        yield Item(
            task_id=row["task_id"],
            prompt=row["complete_prompt"],
            solution=row["canonical_solution"],
            entry_point=row["entry_point"],
            test=row["test"],
            source_prefix=row["complete_prompt"],
            question=row["instruct_prompt"],
            libraries=_libraries(row),
        )


def _libraries(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the distributions of the modules that a row lists, without those of the standard library.

    Raises:
        ValueError: the row lists none of upstream's form.
    """
    try:
        modules = {str(name).partition(".")[0] for name in ast.literal_eval(row["libs"])}
    except (ValueError, SyntaxError, TypeError) as error:
        raise ValueError(
            f"{row['task_id']}: libs is {row['libs']!r}, no list of modules; fetch the file again"
        ) from error
    return tuple(sorted(_DISTRIBUTIONS.get(name, name).lower() for name in modules - sys.stdlib_module_names))


def _entry(name: str, title: str, repo: str) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        kind="code",
        languages=("python",),
        protocol="0-shot completion of the split `complete`, greedy, upstream's stops; items whose libraries are not "
        "installed are unscored",
        version=1,
        data=DataFile(
            name=f"{name}.jsonl",
            columns=(
                *("task_id", "complete_prompt", "instruct_prompt", "canonical_solution", "entry_point", "test"),
                "libs",
            ),
            origin=f"the Hub's {repo}, a split as JSON lines",
            is_unpinned=True,
        ),
        read=read_bigcodebench,
        libraries=_LIBRARIES,
        may_lack_libraries=True,
        stops=STOPS,
        max_new_tokens=1280,
        chat=PYTHON_CHAT,
    )


BIGCODEBENCH = (
    _entry("bigcodebench", "BigCodeBench, complete", "bigcode/bigcodebench"),
    _entry("bigcodebench_hard", "BigCodeBench-Hard, complete", "bigcode/bigcodebench-hard"),
)
"""The entries, for BENCHMARKS."""
