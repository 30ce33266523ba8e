"""Measures reference models with our own harness, where their weights can be had; where not, says why.

A measured reference is the only one that shares our protocol, so it takes the place of the published figure.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from codeft_eval.benchmarks.catalogue import Benchmark
from codeft_eval.scoring.scores import Score

FORMAT = 1
MEASURED_FILE = "measured.json"
_PATTERNS = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
NOT_ASKED = "the Hub is not asked in this profile; set CODEFT_PROFILE=full, or give NAME=FOLDER with the weights"

Run = Callable[[Path, Benchmark, Path], Score]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredReference:
    """A reference model, and what became of measuring it."""

    name: str
    location: str
    "a folder or a Hub id"
    revision: str = ""
    "the commit on the Hub; empty for a folder"
    benchmarks: tuple[str, ...] = ()
    "measured; their scores are in NAME/BENCHMARK"
    unreachable: str = ""
    "why nothing was measured; empty when something was"
    scores: tuple[Score, ...] = field(default=(), repr=False)


def measure_references(
    models: Sequence[tuple[str, str]],
    benchmarks: Sequence[Benchmark],
    output: Path,
    *,
    run: Run,
    may_download: bool = True,
) -> list[MeasuredReference]:
    """Measures each (name, folder or Hub id) on each benchmark and writes `measured.json` beside the scores.

    A model that cannot be had is told with the reason; the others are measured.
    """
    done = [_measure(name, location, benchmarks, output, run, may_download) for name, location in models]
    rows = [{key: value for key, value in asdict(model).items() if key != "scores"} for model in done]
    output.mkdir(parents=True, exist_ok=True)
    document = json.dumps({"format": FORMAT, "models": rows}, indent=2) + "\n"
    (output / MEASURED_FILE).write_text(document, encoding="utf-8")
    return done


def find_weights(location: str, *, may_download: bool) -> tuple[Path, str]:
    """The folder of a model and its revision, downloaded from the Hub (HF_ENDPOINT) unless it is one already.

    Raises:
        OSError: the Hub or the model cannot be reached.
        ValueError: it is neither a folder nor a Hub id.
    """
    if Path(location).is_dir():
        return Path(location), ""
    if not may_download:
        raise OSError(NOT_ASKED)
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(location, allow_patterns=list(_PATTERNS)))
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
    scores = tuple(run(folder, benchmark, output / name / benchmark.name) for benchmark in benchmarks)
    names = tuple(benchmark.name for benchmark in benchmarks)
    return MeasuredReference(name=name, location=location, revision=revision, benchmarks=names, scores=scores)


def measured_table(models: Sequence[MeasuredReference]) -> str:
    """What was measured, as Markdown; published figures stand in for the rest."""
    lines = ["| model | from | benchmark | pass@1 (95 %) | n |", "|---|---|---|---:|---:|"]
    for model in models:
        source = f"{model.location} {model.revision[:12]}".strip()
        if model.unreachable:
            lines.append(f"| {model.name} | {source} | – | not measured: {model.unreachable.replace('|', '/')} | – |")
        for score in model.scores:
            lines += [
                f"| {model.name} | {source} | {score.title} | {100 * found.value:.1f} % "
                f"({100 * found.low:.1f}–{100 * found.high:.1f}) | {found.n} |"
                for metric, found in score.metrics.items()
                if metric == "pass@1"
            ]
    return "\n".join(lines)
