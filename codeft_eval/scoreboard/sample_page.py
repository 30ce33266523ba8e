"""The sample browser: every prompt, completion, verdict and what the program said, as one page without a script."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from codeft_eval.scoreboard.html import anchor, fenced, page, shown

SAMPLES_PAGE = "samples.html"
_LIMIT_CHARS = 6000
_VERDICTS = ("passed", "failed", "unscored")
_STYLE = "".join(
    f"body:has(#only-{verdict}:checked) .sample:not(.{verdict}) {{ display: none; }}\n" for verdict in _VERDICTS
) + (
    ".filter { position: sticky; top: 0; background: Canvas; padding: .5rem 0; border-bottom: 1px solid var(--line); }"
    " .filter label { margin-right: 1rem; white-space: nowrap; }"
    " .sample:target { outline: 2px solid #2f81f7; outline-offset: 4px; }"
)


def samples_html(model_hash: str, benchmarks: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    """The samples of one checkpoint; `benchmarks` maps a benchmark's title to its samples."""
    choices = ["all", *_VERDICTS]
    radios = "".join(
        f'<label><input type="radio" name="only" id="only-{name}"{" checked" if name == "all" else ""}> {name}</label>'
        for name in choices
    )
    sections = []
    links = []
    for title, samples in benchmarks.items():
        listed = list(samples)
        passed = sum(sample["verdict"] == "passed" for sample in listed)
        links.append(f'<a href="#{anchor(title)}">{shown(title)}</a> {passed} of {len(listed)}')
        inner = "".join(sample_html(title, sample) for sample in listed)
        sections.append(f'<h2 id="{anchor(title)}">{shown(title)}</h2>{inner}')
    return page(
        "Samples",
        _STYLE,
        f"<h1>Samples</h1><p>Checkpoint <code>{shown(model_hash[:16])}</code>, passed: {'; '.join(links)}.</p>"
        f'<p class="filter">{radios}</p>{"".join(sections)}',
    )


def sample_html(benchmark: str, sample: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> str:
    """One sample, folded; with the completion of the checkpoint before, when it is given."""
    verdict = sample["verdict"] if sample["verdict"] in _VERDICTS else "unscored"
    why = "" if sample["reason"] == sample["verdict"] else sample["reason"]
    parts = [("prompt", sample["prompt"]), ("completion", sample["completion"])]
    parts += [("completion of the checkpoint before", before["completion"])] if before else []
    parts += [("detail", sample["detail"]), ("stderr", sample["stderr"])]
    blocks = "".join(f"<small>{name}</small>{fenced(text, _LIMIT_CHARS)}" for name, text in parts if text)
    number = f" #{sample['sample']}" if sample["sample"] else ""
    return (
        f'<details class="sample {verdict}" id="{sample_anchor(benchmark, sample)}"><summary>'
        f'<span class="badge">{verdict}</span> {shown(sample["task_id"])}{number} '
        f'<span class="faint">{shown(why)}</span></summary>{blocks}</details>'
    )


def sample_anchor(benchmark: str, sample: Mapping[str, Any]) -> str:
    """Where a sample stands on the page."""
    return anchor(benchmark, sample["task_id"], sample["sample"])


def first_samples(samples: Iterable[Mapping[str, Any]], items: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The first sample of each of `items`."""
    wanted = set(items)
    return {row["task_id"]: row for row in samples if row["sample"] == 0 and row["task_id"] in wanted}
