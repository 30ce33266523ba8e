"""HELD_OUT: benchmarks that are not scored here and must not be trained on all the same, for decontamination."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codeft_eval.benchmarks import FOLDER_VARIABLE, DataFile, read_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """One benchmark's texts."""

    kind: Literal["code", "math"]
    data: DataFile
    fields: Mapping[str, str]
    "field of the item -> key of the row"


HELD_OUT = {
    "math": HeldOut(
        kind="math",
        data=DataFile(
            name="math_test.jsonl",
            sha256="3371949f33dd702d04b43fddd7d53a028de0aaca0e76abb1b875a050297b3aa4",
            num_rows=5000,
            origin="Hendrycks MATH as in microsoft/ToRA@213c1c99, test.jsonl",
        ),
        fields={"prompt": "problem", "solution": "solution"},
    ),
}


def is_present(entry: HeldOut) -> bool:
    """Whether the file lies in the folder that ``CODEFT_BENCHMARKS`` names."""
    folder = os.environ.get(FOLDER_VARIABLE, "")
    return bool(folder) and (Path(folder) / entry.data.name).is_file()


def held_out_texts(name: str) -> list[dict[str, str]]:
    """All texts of an entry, one row a field of an item, as ``benchmark_texts`` gives them."""
    entry = HELD_OUT[name]
    return [
        {"benchmark": name, "task_id": f"{name.upper()}/{number}", "kind": entry.kind, "field": field, "text": row[key]}
        for number, row in enumerate(read_rows(entry.data))
        for field, key in entry.fields.items()
    ]
