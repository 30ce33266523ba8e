"""The commands: each reads its options, does its work, prints its result and reports it.

A command returns the exit status: 0 on success, 1 when a check fails. Modules that load lm-eval or
matplotlib are imported by the command that needs them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft_assets.base import report
from codeft_assets.base.report import Reporter
from codeft_eval.benchmarks.catalogue import all_benchmarks, get_benchmark
from codeft_eval.scoring.options import Options

if TYPE_CHECKING:
    from codeft_eval.scoring.scores import Score

_CHOICES = tuple(field.name for field in fields(Options) if field.name != "log")


def run(options: argparse.Namespace, reporter: Reporter) -> int:
    """Evaluate a checkpoint."""
    from codeft_eval.scoring.runs import run_protocols

    benchmark, chosen = get_benchmark(options.benchmark), _run_options(options, reporter)
    scores = run_protocols(options.checkpoint, benchmark, options.output, chosen, options.protocol)
    return _show_scores(scores, reporter)


def replay(options: argparse.Namespace, reporter: Reporter) -> int:
    """Score stored completions."""
    from codeft_eval.scoring.runs import replay

    benchmark = get_benchmark(options.benchmark)
    chosen = _run_options(options, reporter)
    names = {"model": options.model, "protocol": options.protocol}
    score = replay(options.generations, benchmark, options.output, chosen, **names)
    return _show_scores({options.output: score}, reporter)


def solve(options: argparse.Namespace, reporter: Reporter) -> int:
    """Solve a prompt, or the items of finished runs, by strategies."""
    if bool(options.prompt) == bool(options.runs):
        raise ValueError("give either --prompt, a text to solve, or --runs, folders of a model's runs on a benchmark")
    chosen = _run_options(options, reporter)
    if options.prompt:
        return _solve_prompt(options, chosen)
    from codeft_eval.scoring.strategy_runs import results_table, solve_runs

    if not options.output:
        raise ValueError("--runs needs --output, a folder for the scores of the strategies")
    folders = {"checkpoint": options.checkpoint, "tokenizer": options.tokenizer}
    results = solve_runs(options.runs, options.strategy, options.output, chosen, **folders)
    table = results_table(results)
    print(table)
    metadata = {"strategies": report.markdown(table), "path": report.path(options.output.resolve())}
    reporter.materialize(metadata, _data_version("".join(result.score.content_hash for result in results)))
    return 0


def _solve_prompt(options: argparse.Namespace, chosen: Options) -> int:
    from codeft_eval.scoring.solving import solve_prompt

    if not options.checkpoint or len(options.strategy) != 1:
        raise ValueError("--prompt needs --checkpoint, the model that solves it, and one --strategy")
    text = sys.stdin.read() if options.prompt == "-" else Path(options.prompt).read_text(encoding="utf-8")
    solution = solve_prompt(options.checkpoint, text, options.strategy[0], chosen)
    print(solution.program)
    print(solution.summary, file=sys.stderr)
    return 0 if not solution.answer.fallback else 1


def pairs(options: argparse.Namespace, reporter: Reporter) -> int:
    """Make preference pairs of judged samples."""
    from codeft_assets.base import markdown
    from codeft_eval.scoring.preference_pairs import PAIRS_FILE, write_pairs

    facts = write_pairs(options.runs, options.output, per_item=options.pairs_per_item)
    left_out = facts.pop("left_out")
    for name, value in facts.items():
        print(f"{name}: {value}")
    metadata = {name: value for name, value in facts.items() if isinstance(value, int | float)}
    metadata |= {"dagster/row_count": facts["num_pairs"], "path": report.path((options.output / PAIRS_FILE).resolve())}
    table = markdown.table(("left out because of", "items or pairs"), left_out.items())
    reporter.materialize(metadata | {"left_out": report.markdown(table)}, facts["content_hash"])
    return 0


def check(options: argparse.Namespace, reporter: Reporter) -> int:
    """Check the harness itself on a benchmark."""
    from codeft_eval.scoring.harness_check import check_harness, write_check

    result = check_harness(get_benchmark(options.benchmark), _run_options(options, reporter))
    for task_id, problem in (result.unexpected | result.declared).items():
        print(f"{task_id}: {problem}")
    print(f"{result.benchmark}: {result.num_items} items, {len(result.unexpected)} unexpected, tier {result.tier}")
    if options.output:
        write_check(options.output, result)
    return 0 if result.passed else 1


def measure(options: argparse.Namespace, reporter: Reporter) -> int:
    """Measure reference models."""
    from codeft_eval.scoring.reference_runs import MEASURED_FILE, measure_references, measured_table
    from codeft_eval.scoring.runs import run_protocols

    run_options = _run_options(options, reporter)
    models = measure_references(
        options.model,
        [get_benchmark(name) for name in options.benchmark],
        options.output,
        run=lambda folder, benchmark, output: tuple(
            run_protocols(folder, benchmark, output, run_options, options.protocol).values()
        ),
        may_download=not options.local_only,
    )
    text = measured_table(models)
    print(text)
    document = (options.output / MEASURED_FILE).read_text(encoding="utf-8")
    hashes = [score.content_hash for model in models for score in model.scores]
    metadata = {
        "measured": report.markdown(text),
        "num_scores": len(hashes),
        "path": report.path(options.output.resolve()),
    }
    reporter.materialize(metadata, _data_version(document + "".join(hashes)))
    return 0


def fetch(options: argparse.Namespace, reporter: Reporter) -> int:
    """Download benchmarks."""
    from codeft_eval.benchmarks.datafiles import fetch

    chosen = [get_benchmark(name) for name in options.benchmark or all_benchmarks()]
    wanted = [benchmark for benchmark in chosen if options.benchmark or benchmark.data.hub]
    for benchmark in wanted:
        places = [place for data in (benchmark.data, *benchmark.more_data) for place in fetch(data)]
        print(f"{benchmark.name}: {', '.join(map(str, places))}")
    return 0


def hold_out(options: argparse.Namespace, reporter: Reporter) -> int:
    """Write the competition problems that are never trained on."""
    from codeft_eval.benchmarks.held_out_problems import FILE, RULE, held_out_rows, read_documents, write_held_out

    documents = read_documents(options.documents)
    rows = held_out_rows(documents)
    if not rows:
        raise ValueError(
            f"{str(options.documents)!r} has {len(documents)} documents and the rule ({RULE}) holds out none of them; "
            "materialize more of documents/comp-math"
        )
    facts = write_held_out(rows, options.output)
    print(
        f"{options.output / FILE}: {len(rows)} problems of {len(documents)} documents, {facts['num_with_answer']} with "
        f"an answer that can be compared\nrule: {RULE}\nrows sha256: {facts['rows_sha256']}"
    )
    return 0


def progress(options: argparse.Namespace, reporter: Reporter) -> int:
    """Print the curve of a training run and one program of its last checkpoint."""
    from codeft_eval.scoring.progress import progress_text

    del reporter  # a view of results that are reported already
    print(progress_text(options.metrics, options.scores, get_benchmark(options.benchmark)))
    return 0


def scoreboard(options: argparse.Namespace, reporter: Reporter) -> int:
    """Publish the scoreboard of a checkpoint."""
    from codeft_eval.scoreboard.plots import markdown_images
    from codeft_eval.scoreboard.publish import publish
    from codeft_eval.scoreboard.shipped_references import shipped_references

    done = publish(
        options.scores,
        options.output,
        references=[*shipped_references(), *(options.reference or [])],
        leaked=options.leaked,
        num_tokens=options.num_tokens,
    )
    print(done.markdown)
    metadata = {
        "scoreboard": report.markdown(done.markdown),
        "plot": report.markdown(markdown_images([done.bars])),
        **({"progress": report.markdown(markdown_images(done.progress))} if done.progress else {}),
        **({"relative_to_reference": done.board.overall.ratio.value} if done.board.overall.ratio else {}),
        "num_gained": sum(len(change.gained) for change in done.board.changes),
        "num_lost": sum(len(change.lost) for change in done.board.changes),
        "page": report.path(done.page.resolve()),
        "samples": report.path(done.samples_page.resolve()),
    }
    reporter.materialize(metadata, _data_version(done.json))
    return 0


def reference(options: argparse.Namespace, reporter: Reporter) -> int:
    """Print the published figures."""
    from codeft_assets.base.files import write_atomically
    from codeft_eval.scoreboard.reference import reference_scores, reference_table

    text = reference_table()
    document = json.dumps({"format": 1, "scores": [asdict(row) for row in reference_scores()]}, indent=2) + "\n"
    if options.output:
        write_atomically(options.output / "reference.md", text + "\n")
        write_atomically(options.output / "reference.json", document)
    print(text)
    reporter.materialize(
        {"reference": report.markdown(text), "num_figures": len(reference_scores())}, _data_version(document)
    )
    return 0


def _show_scores(scores: Mapping[Path, Score], reporter: Reporter) -> int:
    """Print the scores of one benchmark and report them; the first decides whether the command succeeded."""
    from codeft_eval.scoring.scores import score_metadata

    metadata: dict[str, Any] = {}
    for folder, score in scores.items():
        for name, estimate in score.metrics.items():
            interval = f"[{estimate.low:.4f}, {estimate.high:.4f}]"
            print(f"{score.name} {name} {estimate.value:.4f} {interval} n={estimate.n}")
        print(f"{score.name} protocol {score.protocol_name}: {score.protocol}; prompt's end {score.prompt_end}")
        print(f"{score.name} unscored {score.num_unscored} {score.unscored_reasons or ''}".rstrip())
        prefix = f"{score.protocol_name}_" if metadata else ""
        metadata |= {prefix + name: value for name, value in score_metadata(score, folder).items()}
    hashes = [score.content_hash for score in scores.values()]
    reporter.materialize(metadata, hashes[0] if len(hashes) == 1 else _data_version("".join(hashes)))
    first = next(iter(scores.values()))
    return 0 if first.num_scored or first.has_likelihood_only else 1


def _run_options(options: argparse.Namespace, reporter: Reporter) -> Options:
    chosen = {name: value for name in _CHOICES if (value := getattr(options, name, None)) is not None}
    return Options(**chosen, log=reporter.log)


def _data_version(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()
