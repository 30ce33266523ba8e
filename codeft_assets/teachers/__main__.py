"""``python -m codeft_assets.teachers``: a teacher writes exercises, and a sandbox keeps what passes.

The halves run where they fit: ``--only generate`` on a machine with a GPU, ``--only judge`` on one with a sandbox.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from codeft_assets.base.report import open_reporter, own_logs_printed
from codeft_assets.teachers.generate import Plan, Teacher, generate
from codeft_assets.teachers.local_model import LocalTeacher


def main(arguments: list[str] | None = None) -> int:
    """Run one half or both; return the exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what there is, is written
    with own_logs_printed(), open_reporter() as reporter:
        try:
            _run(options)
        except (ValueError, OSError) as error:
            reporter.fail(str(error))
            return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    names = tuple(options.names.read_text(encoding="utf-8").split()) if options.names else ()
    plan = Plan(
        count=options.count,
        first=options.first,
        seed=options.seed,
        num_statements=options.statements,
        num_solutions=options.solutions,
        round_statements=options.round,
        names=names,
    )
    if options.only != "judge":
        summary = generate(_teacher(options), plan, options.output, seconds=options.seconds, parts=options.parts)
        sys.stdout.write(json.dumps(summary) + "\n")
    if options.only != "generate":
        from codeft_assets.teachers.judge import judge

        sys.stdout.write(json.dumps(judge(options.output, options.parts), indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m codeft_assets.teachers", description=__doc__)
    parser.add_argument("--teacher", default="", help="a folder with a model, or the URL of an endpoint")
    parser.add_argument("--model", default="", help="the name that an endpoint serves; its key: CODEFT_TEACHER_KEY")
    parser.add_argument("--output", type=Path, required=True, help="folder of the journal and the results")
    parser.add_argument("--only", choices=("generate", "judge"), help="one half; by default both")
    parser.add_argument("--count", type=int, default=1000, help="statements to ask for")
    parser.add_argument("--first", type=int, default=0, help="number of the first: for several machines at a time")
    parser.add_argument(
        "--parts", type=Path, nargs="+", default=[], help="outputs of such runs: what they made is used"
    )
    parser.add_argument("--seed", type=int, default=0, help="of tasks and samples: equal seeds ask for the same")
    parser.add_argument("--statements", type=int, default=4, help="samples of each task")
    parser.add_argument("--solutions", type=int, default=4, help="samples of each statement's body")
    parser.add_argument("--round", type=int, default=25_600, help="statements that are solved before more are written")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no round that would end later")
    parser.add_argument("--batch-size", type=int, default=2048, help="rows of a local model")
    parser.add_argument("--names", type=Path, help="a file of functions' names to start from")
    return parser


def _teacher(options: argparse.Namespace) -> Teacher:
    if options.teacher.startswith(("http://", "https://")):
        from codeft_assets.teachers.endpoint import EndpointTeacher

        return EndpointTeacher(url=options.teacher, model=options.model)
    return LocalTeacher(
        folder=Path(options.teacher),
        seed=options.seed,
        batch_size=options.batch_size,
    )


if __name__ == "__main__":
    sys.exit(main())
