"""Reference models measured with our own harness, where their weights can be had; where not, the reason.

A measured reference is the only one that shares our protocol, so it takes the place of the published figure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from codeft_assets.base import markdown
from codeft_assets.base.files import write_atomically
from codeft_assets.base.hub_errors import hub_reason, is_path
from codeft_eval.benchmarks.benchmark import Benchmark
from codeft_eval.generation.checkpoints import CHECKPOINT_FILES
from codeft_eval.scoring.scores import PASS_AT_1, Score

FORMAT = 1
MEASURED_FILE = "measured.json"
OFFLINE = "the Hub is not asked in this profile; set CODEFT_PROFILE=full, or give NAME=FOLDER with the weights"

Run = Callable[[Path, Benchmark, Path], Sequence[Score]]
"""(checkpoint, benchmark, output) -> the scores, one a protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredReference:
    """A reference model with its scores, or with the reason why there are none."""

    name: str
    location: str
    """A folder or a Hub id."""
    revision: str = ""
    """The commit on the Hub; empty for a folder."""
    benchmarks: tuple[str, ...] = ()
    """Measured; their scores are in NAME/BENCHMARK."""
    unreachable: str = ""
    """The reason that nothing was measured; empty when something was."""
    scores: tuple[Score, ...] = field(default=(), repr=False)


def measure_references(
    models: Sequence[tuple[str, str]],
    benchmarks: Sequence[Benchmark],
    output: Path,
    *,
    run: Run,
    may_download: bool = True,
) -> list[MeasuredReference]:
    """Measure each (name, folder or Hub id) on each benchmark and write ``measured.json`` beside the scores.

    A model that cannot be had is recorded with the reason; the others are measured.
    """
    done = [_measure(name, location, benchmarks, output, run, may_download) for name, location in models]
    rows = [{key: value for key, value in asdict(model).items() if key != "scores"} for model in done]
    write_atomically(output / MEASURED_FILE, json.dumps({"format": FORMAT, "models": rows}, indent=2) + "\n")
    return done


def find_weights(location: str, *, may_download: bool) -> tuple[Path, str]:
    """Return the folder of a model and its revision, downloaded from the Hub (HF_ENDPOINT) unless it is one already.

    Raises:
        OSError: the Hub or the model cannot be reached.
        ValueError: it is neither a folder nor a Hub id.
    """
    if Path(location).is_dir():
        return Path(location), ""
    if is_path(location):
        raise OSError(f"{location!r} does not exist; give its folder or its id on the Hub")
    if not may_download:
        raise OSError(OFFLINE)
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(location, allow_patterns=list(CHECKPOINT_FILES)))
    except (OSError, ValueError) as error:  # the Hub's own errors are among them
        raise OSError(f"it is no folder, and {hub_reason(error)}") from error
    return folder, folder.name


def _measure(
    name: str, location: str, benchmarks: Sequence[Benchmark], output: Path, run: Run, may_download: bool
) -> MeasuredReference:
    if not name or Path(name).name != name or name.startswith("."):
        raise ValueError(
            f"reference {name!r} names a folder of its scores: give it a plain name, as Qwen2.5-Coder-0.5B"
        )
    try:
        folder, revision = find_weights(location, may_download=may_download)
    except (OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0] or type(error).__name__
        return MeasuredReference(name=name, location=location, unreachable=why)
    scores = tuple(score for entry in benchmarks for score in run(folder, entry, output / name / entry.name))
    names = tuple(benchmark.name for benchmark in benchmarks)
    return MeasuredReference(name=name, location=location, revision=revision, benchmarks=names, scores=scores)


def measured_table(models: Sequence[MeasuredReference]) -> str:
    """Return the measured scores as a Markdown table, and below it why others are missing."""
    columns = ("model", "from", "benchmark", "pass@1 (95 %)", "n")
    rows: list[tuple[object, ...]] = []
    for model in models:
        source = f"{model.location} {model.revision[:12]}".strip()
        for score in model.scores:
            found = score.metrics.get(PASS_AT_1)
            if found:
                shown = f"{100 * found.value:.1f} % ({100 * found.low:.1f}–{100 * found.high:.1f})"
                rows.append((model.name, source, score.title, shown, found.n))
    table = [markdown.table(columns, rows, numeric=columns[3:])] if rows else []
    missing = [f"{model.name} was not measured: {model.unreachable}" for model in models if model.unreachable]
    return "\n\n".join([*table, *map(markdown.escape, missing)])
