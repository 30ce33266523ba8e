"""`python -m codeft_eval run | replay | check | fetch | hold-out | measure | scoreboard | reference`: see --help."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from codeft_eval import pipes
from codeft_eval.benchmarks.catalogue import BENCHMARKS, get_benchmark
from codeft_eval.pipes import Report, reporting
from codeft_eval.sandbox.provider import SandboxError

Log = Callable[[str], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 on success, 1 when a check fails, 2 for what the user can fix."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    with reporting(logging.getLogger("codeft_eval").info) as (log, report):
        try:
            return options.command(options, log, report)
        except (ValueError, SandboxError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


def _run(options: argparse.Namespace, log: Log, report: Report) -> int:
    from codeft_eval.scoring.runs import run_checkpoint

    benchmark = get_benchmark(options.benchmark)
    score = run_checkpoint(options.checkpoint, benchmark, options.output, _run_options(options, log))
    return _show_score(score, options.output, report)


def _replay(options: argparse.Namespace, log: Log, report: Report) -> int:
    from codeft_eval.scoring.runs import replay

    benchmark = get_benchmark(options.benchmark)
    score = replay(options.generations, benchmark, options.output, _run_options(options, log))
    return _show_score(score, options.output, report)


def _check(options: argparse.Namespace, log: Log, report: Report) -> int:
    from codeft_eval.scoring.runs import check_harness

    result = check_harness(get_benchmark(options.benchmark), _run_options(options, log))
    for task_id, problem in (result.unexpected | result.declared).items():
        print(f"{task_id}: {problem}")
    print(f"{result.benchmark}: {result.num_items} items, {len(result.unexpected)} unexpected, tier {result.tier}")
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        document = {"format": 1, **asdict(result), "passed": result.passed}
        (options.output / "check.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if result.passed else 1


def _measure(options: argparse.Namespace, log: Log, report: Report) -> int:
    from codeft_eval.scoring.reference_runs import MEASURED_FILE, measure_references, measured_table
    from codeft_eval.scoring.runs import run_checkpoint

    run_options = _run_options(options, log)
    models = measure_references(
        options.model,
        [get_benchmark(name) for name in options.benchmark],
        options.output,
        run=lambda folder, benchmark, output: run_checkpoint(folder, benchmark, output, run_options),
        may_download=not options.local_only,
    )
    text = measured_table(models)
    print(text)
    document = (options.output / MEASURED_FILE).read_text(encoding="utf-8")
    hashes = [score.content_hash for model in models for score in model.scores]
    metadata = {
        "measured": pipes.markdown(text),
        "num_scores": len(hashes),
        "path": pipes.path(options.output.resolve()),
    }
    report(metadata, pipes.version_of(document + "".join(hashes)))
    return 0


def _fetch(options: argparse.Namespace, log: Log, report: Report) -> int:
    from codeft_eval.benchmarks.datafiles import fetch

    chosen = [BENCHMARKS[name] for name in options.benchmark or BENCHMARKS]
    wanted = [benchmark for benchmark in chosen if options.benchmark or benchmark.data.hub]
    for benchmark in wanted:
        places = [place for data in (benchmark.data, *benchmark.more_data) for place in fetch(data)]
        print(f"{benchmark.name}: {', '.join(map(str, places))}")
    return 0


def _hold_out(options: argparse.Namespace, log: Log, report: Report) -> int:
    from codeft_eval.benchmarks.held_out import FILE, RULE, held_out_rows, read_documents, write_held_out

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


def _scoreboard(options: argparse.Namespace, log: Log, report: Report) -> int:
    from codeft_eval.scoreboard.publish import publish

    done = publish(
        options.scores,
        options.output,
        references=options.reference or [],
        leaked=options.leaked,
        num_tokens=options.num_tokens,
    )
    print(done.markdown)
    metadata = {
        "scoreboard": pipes.markdown(done.markdown),
        "plot": pipes.images([done.bars]),
        **({"progress": pipes.images(done.progress)} if done.progress else {}),
        **({"relative_to_reference": done.board.overall.ratio.value} if done.board.overall.ratio else {}),
        "num_gained": sum(len(change.gained) for change in done.board.changes),
        "num_lost": sum(len(change.lost) for change in done.board.changes),
        "page": pipes.path(done.page.resolve()),
        "samples": pipes.path(done.samples_page.resolve()),
    }
    report(metadata, pipes.version_of(done.json))
    return 0


def _reference(options: argparse.Namespace, log: Log, report: Report) -> int:
    from codeft_eval.scoreboard.page import write_page
    from codeft_eval.scoreboard.reference import reference_scores, reference_table

    text = reference_table()
    document = json.dumps({"format": 1, "scores": [asdict(row) for row in reference_scores()]}, indent=2) + "\n"
    if options.output:
        write_page(options.output, "reference.md", text + "\n")
        write_page(options.output, "reference.json", document)
    print(text)
    report({"reference": pipes.markdown(text), "num_figures": len(reference_scores())}, pipes.version_of(document))
    return 0


def _show_score(score, output: Path, report: Report) -> int:  # noqa: ANN001 - a Score, imported late
    from codeft_eval.scoring.scores import score_metadata

    for name, estimate in score.metrics.items():
        print(f"{score.benchmark} {name} {estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}] n={estimate.n}")
    print(f"{score.benchmark} unscored {score.num_unscored} {score.unscored_reasons or ''}".rstrip())
    report(score_metadata(score, output), score.content_hash)
    is_weighed_only = set(score.unscored_reasons) == {"no_reference_answer"} and bool(score.metrics)
    return 0 if score.num_scored or is_weighed_only else 1


def _run_options(options: argparse.Namespace, log: Log):  # noqa: ANN202
    from codeft_eval.scoring.runs import Options

    names = ("limit", "batch_size", "device", "dtype", "tier", "allow_unsafe")
    names += ("engine", "num_samples", "temperature", "top_p", "seed")
    chosen = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    return Options(**chosen, log=log)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m codeft_eval", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = _command(commands, "run", _run, "evaluate a checkpoint folder on a benchmark; resumes where it was stopped")
    run.add_argument("--checkpoint", type=Path, required=True, help="a folder that save_pretrained wrote")
    run.add_argument("--batch-size", type=int, help="default: 64 on a GPU, else 16; recorded")
    run.add_argument("--device", default="", help="default: a GPU when there is one")
    run.add_argument("--dtype", default="", help="default: bfloat16 on a GPU, float32 elsewhere")
    run.add_argument(
        "--engine", choices=["batches", "graphs", "continuous"], help="default: graphs on a GPU, batches elsewhere"
    )
    run.add_argument("--num-samples", type=int, default=1, help="completions an item, for pass@k; needs a temperature")
    run.add_argument("--temperature", type=float, default=0.0, help="0: greedy")
    run.add_argument("--top-p", type=float, default=1.0)
    run.add_argument("--seed", type=int, default=0, help="with task, item and sample number it fixes each sample")
    replay = _command(commands, "replay", _replay, "score stored completions through exactly the same path")
    replay.add_argument("--generations", type=Path, required=True, help="JSON lines with task_id and completion")
    check = _command(commands, "check", _check, "canonical solutions must pass and empty completions must fail")
    measure = _command(
        commands, "measure", _measure, "measure reference models with this harness, where they can be had"
    )
    measure.add_argument("--model", type=_named, nargs="+", required=True, help="NAME=FOLDER or NAME=HUB_ID")
    measure.add_argument("--benchmark", nargs="+", required=True, choices=sorted(BENCHMARKS))
    measure.add_argument("--local-only", action="store_true", help="do not ask the Hub")
    measure.add_argument("--limit", type=int, help="only the first items")
    measure.add_argument("--batch-size", type=int, help="64 on a GPU, else 16")
    measure.add_argument("--output", type=Path, required=True)
    for command in (run, replay, check):
        command.add_argument("--benchmark", required=True, choices=sorted(BENCHMARKS))
        command.add_argument("--limit", type=int, help="only the first items")
        command.add_argument("--tier", choices=["namespaces", "landlock"], help="default: the strongest that works")
        command.add_argument("--allow-unsafe", action="store_true", help="run UNCONFINED where no jail works; taints")
        command.add_argument("--output", type=Path, required=command is not check, help="folder for the results")
    fetch = _command(
        commands, "fetch", _fetch, "download benchmarks from the Hub at their pinned commits, and check them"
    )
    fetch.add_argument("--benchmark", nargs="*", choices=sorted(BENCHMARKS), help="default: all that the Hub has")
    held_out = _command(
        commands, "hold-out", _hold_out, "write the competition problems that are never trained on, as a benchmark"
    )
    held_out.add_argument("--documents", type=Path, required=True, help="folder of the table documents/comp-math")
    held_out.add_argument("--output", type=Path, required=True, help="folder; name it in CODEFT_BENCHMARKS to score it")
    board = _command(commands, "scoreboard", _scoreboard, "scores relative to Qwen 2.5: Markdown, page, JSON and plot")
    board.add_argument("--scores", type=Path, nargs="+", required=True, help="folders of one checkpoint's scores")
    board.add_argument("--reference", type=_named_path, nargs="*", help="MODEL=FOLDER: its scores by this harness")
    board.add_argument("--leaked", type=Path, help="JSON {benchmark: [task ids that a source document holds]}")
    board.add_argument("--num-tokens", type=int, help="tokens the checkpoint was trained on, for the progress plot")
    board.add_argument("--output", type=Path, required=True)
    reference = _command(commands, "reference", _reference, "the published figures, with their sources")
    reference.add_argument("--output", type=Path)
    return parser


def _command(commands, name: str, run: Callable, text: str) -> argparse.ArgumentParser:  # noqa: ANN001
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(command=run)
    return command


def _named(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _named_path(text: str) -> tuple[str, Path]:
    name, path = _named(text)
    return name, Path(path)


if __name__ == "__main__":
    sys.exit(main())
