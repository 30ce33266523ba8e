"""What the corpus costs at the catalogue's whole size and at ten terabytes, computed from measured unit costs.

    PYTHONPATH=. python -m tests.scale_plan            # writes the tables of docs/internet_scale.md

Unit costs are docs/measured/unit_costs.json (two sizes: their difference is the cost of a byte) and corpus_scale.json.
What nothing here measured is in ``Assumptions``, with its origin. A straight line is an assumption too: the page says
for which stages it was tried, and to what size.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path

from codeft_assets.curation.ingest.rows import BYTES_PER_SHARD, ROWS_PER_SHARD

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "internet_scale.md"
MEASURED = ROOT / "docs" / "measured"
BEGIN, END = "<!-- computed: python -m tests.scale_plan -->", "<!-- end of what is computed -->"
SIZES = {"150 GB": 150e9, "10 TB": 10e12}
"""Bytes of text: the datasets of the catalogue, whole, and a crawl."""
WORKERS = (64, 1000)
HEAD = "| stage | CPU seconds a GB | bytes written for a byte | paid once, CPU seconds | peak MB |"
PAID_ONCE = ("decontamination/held_out", "decontamination/benchmark_texts", "quality/classifier", "tokenizer")
"""What reads a part of the corpus that does not grow with it."""
ONE_PROCESS = ("packing",)


@dataclass(frozen=True)
class Assumptions:
    """What no run measured."""

    bytes_per_document: float = 150e9 / 110e6
    """The catalogue's 150 GB are 110 million documents, by the datasets' cards."""
    dollars_per_cpu_hour: float = 0.04
    """A core of a general-purpose machine, between on-demand and spot prices of 2026; put in yours."""
    dollars_per_terabyte_month: float = 23.0
    """Object storage, standard class."""
    dollars_per_million_writes: float = 5.0
    dollars_per_million_reads: float = 0.4
    packed_bytes_for_a_byte: float = 1.0
    """Tokens of four bytes, for three to four bytes of text; two bytes where the vocabulary is small."""
    workers_at_full_speed: float = 0.8
    """The rest waits: for the last units of a stage, for storage."""


A = Assumptions()


@dataclass(frozen=True)
class StageCost:
    """Of a byte of text."""

    name: str
    cpu_seconds: float
    written_bytes: float
    peak_megabytes: int
    fixed_cpu_seconds: float


def stage_costs():
    """Return the cost of each stage, in the order in which they run."""
    small, large = json.loads((MEASURED / "unit_costs.json").read_text())["sizes"]
    span = large["text_bytes"] - small["text_bytes"]
    costs = [_stage(name, small, large, span) for name in large["stages"]]
    scale = json.loads((MEASURED / "corpus_scale.json").read_text())["results"]
    for name in ("tokenizer", "packing"):
        low, high = scale["100 MB"][name], scale["1000 MB"][name]
        cpu = 0.0 if name in PAID_ONCE else (high["cpu_seconds"] - low["cpu_seconds"]) / 900e6
        written = A.packed_bytes_for_a_byte if name == "packing" else 0.0
        fixed = high["cpu_seconds"] if name in PAID_ONCE else max(0.0, low["cpu_seconds"] - cpu * 100e6)
        costs.append(StageCost(name, cpu, written, high["peak_megabytes"], fixed))
    return costs


def _stage(name, small, large, span):
    low, high = small["stages"][name], large["stages"][name]
    if name in PAID_ONCE:
        return StageCost(name, 0.0, 0.0, high["peak_megabytes"], high["cpu_seconds"])
    cpu = max(0.0, (high["cpu_seconds"] - low["cpu_seconds"]) / span)
    written = max(0.0, (high["written_bytes"] - low["written_bytes"]) / span)
    fixed = max(0.0, low["cpu_seconds"] - cpu * small["text_bytes"])
    return StageCost(name, cpu, written, high["peak_megabytes"], fixed)


def shuffled(costs):
    """Return bytes for a byte of text that stages of deduplication write by hash and read again."""
    return sum(cost.written_bytes for cost in costs if cost.name.startswith("dedup/"))


def stage_table(costs):
    rows = [HEAD, "|---|---|---|---|---|"]
    rows += [
        f"| {cost.name} | {cost.cpu_seconds * 1e9:,.0f} | {cost.written_bytes:.3f} | {cost.fixed_cpu_seconds:,.1f} "
        f"| {cost.peak_megabytes:,} |"
        for cost in costs
    ]
    total = sum(cost.cpu_seconds for cost in costs) * 1e9
    return "\n".join([*rows, f"| **together** | **{total:,.0f}** | {sum(c.written_bytes for c in costs):.3f} | | |"])


def plan_table(costs):
    cpu, written = sum(cost.cpu_seconds for cost in costs), sum(cost.written_bytes for cost in costs)
    undivided = sum(cost.cpu_seconds for cost in costs if cost.name in ONE_PROCESS)
    lines = {
        "documents, million": lambda size: f"{size / A.bytes_per_document / 1e6:,.0f}",
        "units of a stage": lambda size: f"{_units(size):,.0f}",
        "written in all, TB": lambda size: f"{size * written / 1e12:,.2f}",
        "of which dedup, written and read once more, TB": lambda size: f"{2 * size * shuffled(costs) / 1e12:,.2f}",
        "CPU hours": lambda size: f"{size * cpu / 3600:,.0f}",
        **{
            f"hours on {n:,} CPUs, down to the corpus": lambda size, n=n: _hours(size * (cpu - undivided), n)
            for n in WORKERS
        },
        "hours of packing, in its one process": lambda size: f"{size * undivided / 3600:,.0f}",
        "memory of a worker, MB": lambda _: f"{max(cost.peak_megabytes for cost in costs):,}",
        "CPUs, dollars": lambda size: f"{size * cpu / 3600 * A.dollars_per_cpu_hour:,.0f}",
        "requests to storage, dollars": lambda size: f"{_requests(size, costs):,.0f}",
        "storage, dollars a month": lambda size: f"{size * written / 1e12 * A.dollars_per_terabyte_month:,.0f}",
    }
    head = [f"| | {' | '.join(SIZES)} |", "|---|" + "---|" * len(SIZES)]
    return "\n".join(
        [*head, *(f"| {name} | {' | '.join(map(line, SIZES.values()))} |" for name, line in lines.items())]
    )


def _units(size):
    return size / min(BYTES_PER_SHARD, ROWS_PER_SHARD * A.bytes_per_document)


def _hours(cpu_seconds, workers):
    return f"{cpu_seconds / 3600 / workers / A.workers_at_full_speed:,.2f}"


def _requests(size, costs):
    """Two writes a unit and stage, its shard and its commit, and four reads: the header, the columns, the commits."""
    units = _units(size) * len(costs)
    return units * (2 * A.dollars_per_million_writes + 4 * A.dollars_per_million_reads) / 1e6


def assumption_table():
    rows = [f"| {field.name.replace('_', ' ')} | {getattr(A, field.name):,.4g} |" for field in fields(A)]
    return "\n".join(["| assumed | |", "|---|---|", *rows])


def computed():
    costs = stage_costs()
    return "\n\n".join([BEGIN, plan_table(costs), stage_table(costs), assumption_table(), END])


def main():
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + computed() + rest.partition(END)[2])


if __name__ == "__main__":
    main()
