"""The command line: ``python -m codeft_training {tokenizer,pack,train,export-model,export-corpus}``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from codeft_training import pipes
from codeft_training.data import tokenizer
from codeft_training.data.corpus import Corpus, folder_hash
from codeft_training.data.packed_rows import PackedRows
from codeft_training.recipes import RECIPES, Recipe, find_recipe
from codeft_training.train.launch import launch
from codeft_training.train.signals import StopRequest

# before transformers or trl are imported: nothing of a run goes to the network unless the recipe names a Hub model
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    if getattr(options, "processes", 1) > 1 and "RANK" not in os.environ:
        return launch(arguments if arguments is not None else sys.argv[1:], options.processes)
    with pipes.reporter() as reporter:
        try:
            return options.run(options, reporter)
        except (ValueError, OSError, FloatingPointError) as error:
            reporter.log(f"error: {error}")
            return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m codeft_training", description=__doc__)
    commands = parser.add_subparsers(required=True)
    train_tokenizer = commands.add_parser("tokenizer", help="train a byte-level BPE tokenizer on a corpus")
    pack = commands.add_parser("pack", help="tokenize a corpus and pack it into rows")
    train = commands.add_parser("train", help="train a model on packed rows, or resume")
    export_model = commands.add_parser("export-model", help="write a finished run as a Hub model folder")
    export_corpus = commands.add_parser("export-corpus", help="write a corpus as a Hub dataset folder")
    runs = (_tokenizer, _pack, _train, _export_model, _export_corpus)
    for command, run in zip((train_tokenizer, pack, train, export_model, export_corpus), runs, strict=True):
        command.set_defaults(run=run)
        command.add_argument("--output", type=Path, required=True, help="folder to write")
    for command in (train_tokenizer, pack, export_corpus):
        command.add_argument("--corpus", type=Path, required=True, help="folder of the table corpus/mixture")
    for command in (pack, train):
        command.add_argument("--tokenizer", type=Path, required=True, help="folder of model/tokenizer")
    train_tokenizer.add_argument("--vocab-size", type=int, default=RECIPES["smoke"].vocab_size)
    train_tokenizer.add_argument("--base-model", default="", help="take over this model's tokenizer instead")
    pack.add_argument("--context-tokens", type=int, default=RECIPES["smoke"].context_tokens)
    pack.add_argument("--fim-rate", type=float, default=0.0, help="share of plain code that is told out of order")
    thoughts = "what becomes of <think> spans: train, mask or remove"
    pack.add_argument("--thoughts", action="append", default=[], metavar="SOURCE=WORD", help=thoughts)
    train.add_argument("--packed", type=Path, required=True, help="folder of corpus/packed")
    train.add_argument("--recipe", default="smoke", help=f"one of {sorted(RECIPES)}")
    train.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a recipe's field")
    train.add_argument("--processes", type=int, default=1, help="processes that share the run, one for each GPU")
    export_model.add_argument("--run-folder", type=Path, required=True, help="the folder train wrote")
    export_model.add_argument("--scores", type=Path, help="Markdown with the scores of this checkpoint, for the card")
    export_model.add_argument("--no-gguf", action="store_true", help="leave model.gguf out")
    train.add_argument("--probe", type=Path, help="JSON lines of texts to weigh at each validation")
    for command in (train, export_corpus):
        command.add_argument("--lineage", type=Path, help="JSON about the corpus for the card")
    for command in (export_model, export_corpus):
        command.add_argument(
            "--push", default="", metavar="OWNER/NAME", help="send the folder to the Hub; needs HF_TOKEN"
        )
    return parser


def _tokenizer(options: argparse.Namespace, reporter: pipes.Reporter) -> int:
    corpus = Corpus(options.corpus)
    if options.base_model:
        report = tokenizer.adopt_tokenizer(corpus, options.output, base_model=options.base_model)
    else:
        report = tokenizer.train_tokenizer(corpus, options.output, vocab_size=options.vocab_size)
    rows = [f"| {language} | {value} |" for language, value in report.bytes_per_token.items()]
    metadata = {
        "vocab_size": report.vocab_size,
        "num_documents": report.num_documents,
        "bytes_per_token": pipes.markdown("\n".join(["| language | bytes per token |", "| --- | --- |", *rows])),
        "path": pipes.path(options.output),
    }
    reporter.materialize(metadata, report.content_hash)
    return 0


def _pack(options: argparse.Namespace, reporter: pipes.Reporter) -> int:
    from codeft_training.data.packing import pack

    manifest = pack(
        Corpus(options.corpus),
        options.tokenizer,
        options.output,
        context_tokens=options.context_tokens,
        fim_rate=options.fim_rate,
        thoughts=_pairs("--thoughts", options.thoughts),
    )
    train, validation = manifest["splits"]["train"], manifest["splits"]["validation"]
    rows = [f"| {source} | {count:,} |" for source, count in train["tokens_by_source"].items()]
    counted = {name: value for name, value in train.items() if isinstance(value, int)}
    metadata = {
        "dagster/row_count": train["num_rows"],
        **counted,
        "num_validation_tokens": validation["num_tokens"],
        "fill_fraction": train["fill_fraction"],
        "context_tokens": manifest["context_tokens"],
        "tokens_by_source": pipes.markdown("\n".join(["| source | tokens |", "| --- | --- |", *rows])),
        "path": pipes.path(options.output),
    }
    reporter.materialize(metadata, manifest["content_hash"])
    return 0


def _pairs(flag: str, entries: list[str]) -> dict[str, str]:
    pairs = [entry.partition("=") for entry in entries]
    malformed = [entry for entry, (_, mark, _) in zip(entries, pairs, strict=True) if not mark]
    if malformed:
        raise ValueError(f"{flag} takes NAME=VALUE, not {malformed[0]!r}")
    return {name: value for name, _, value in pairs}


def _recipe(options: argparse.Namespace) -> Recipe:
    return find_recipe(options.recipe, _pairs("--set", options.set))


def _train(options: argparse.Namespace, reporter: pipes.Reporter) -> int:
    stop = StopRequest().install()
    from codeft_training.run_spec import STOPPED_EXIT_CODE, Stopped, TrainingRun
    from codeft_training.train.run import train

    run = TrainingRun(
        packed=PackedRows(options.packed),
        tokenizer=options.tokenizer,
        output=options.output,
        recipe=_recipe(options),
        lineage=_lineage(options),
        probe=options.probe,
    )
    try:
        result = train(run, reporter, stop)
    except Stopped as stopped:
        reporter.log(str(stopped))
        return STOPPED_EXIT_CODE
    if result is None:
        return 0
    measured = (
        {name: value for name, value in result.items() if isinstance(value, int | float)}
        | result["validation"]
        | result["probe"]
    )
    if "probe_seconds" in result:
        measured["probe_fraction"] = result["probe_seconds"] / max(result["seconds"], 1e-9)
    metadata = {
        "recipe": options.recipe,
        **{name: round(value, 4) if isinstance(value, float) else value for name, value in measured.items()},
        "weights_hash": result["weights_hash"][:16],
        "model_card": pipes.markdown((options.output / "checkpoint" / "README.md").read_text().split("---", 2)[2]),
        "path": pipes.path(options.output / "checkpoint"),
    }
    reporter.materialize(metadata, result["content_hash"])
    return 0


def _lineage(options: argparse.Namespace) -> dict[str, Any]:
    return json.loads(options.lineage.read_text()) if options.lineage else {}


def _export_model(options: argparse.Namespace, reporter: pipes.Reporter) -> int:
    from codeft_training.export.folders import export_model

    scores = options.scores.read_text() if options.scores else ""
    files = export_model(options.run_folder, options.output, scores=scores, gguf=not options.no_gguf)
    return _exported(options, reporter, files, "model")


def _export_corpus(options: argparse.Namespace, reporter: pipes.Reporter) -> int:
    from codeft_training.export.folders import export_corpus

    files = export_corpus(Corpus(options.corpus), options.output, lineage=_lineage(options))
    return _exported(options, reporter, files, "dataset")


def _exported(options: argparse.Namespace, reporter: pipes.Reporter, files: dict[str, int], repo_type: str) -> int:
    from codeft_training.export.folders import push

    pushed = {"pushed": push(options.output, options.push, repo_type=repo_type)} if options.push else {}
    rows = [f"| {name} | {size:,} |" for name, size in files.items()]
    metadata = {
        "num_files": len(files),
        "num_bytes": sum(files.values()),
        "files": pipes.markdown("\n".join(["| file | bytes |", "| --- | --- |", *rows])),
        "card": pipes.markdown((options.output / "README.md").read_text().split("---", 2)[2]),
        "path": pipes.path(options.output),
        **pushed,
    }
    reporter.materialize(metadata, folder_hash(options.output, list(files)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
