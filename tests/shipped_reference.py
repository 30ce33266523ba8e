"""Adds a measured reference to the package: its score and verdicts, none of the texts.

    python -m tests.shipped_reference NAME FOLDER...

NAME says which weights they were, quantization included; each FOLDER holds a score that `codeft_eval run` wrote.
"""

import json
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from codeft_eval.benchmarks.benchmark import CHAT
from codeft_eval.scoreboard.shipped_references import FOLDER
from codeft_eval.scoring.samples import read_samples
from codeft_eval.scoring.scores import read_score, write_score

KEPT = ("task_id", "sample", "protocol_name", "verdict", "reason", "tier", "solution_log_likelihood", "solution_bytes")


def add(name: str, folder: Path) -> Path:
    lines = "".join(json.dumps({key: row[key] for key in KEPT if key in row}) + "\n" for row in read_samples(folder))
    score = replace(read_score(folder), model=name, samples_sha256=sha256(lines.encode()).hexdigest())
    target = FOLDER / name / score.benchmark / (CHAT if score.protocol_name == CHAT else "")
    write_score(target, score, lines.encode(), {})
    return target


if __name__ == "__main__":
    for given in sys.argv[2:]:
        print(add(sys.argv[1], Path(given)))
