"""Trains a tokenizer and a model on a corpus, and exports both to the Hub's formats."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from codeft_assets.base.arguments import Parser, existing_file, existing_folder
from codeft_assets.base.processes import collect_rarely, wait_briefly
from codeft_assets.base.program_name import program_name
from codeft_assets.base.report import open_reporter, out_of_memory
from codeft_training import commands
from codeft_training.data.tokenizer import SAMPLE_MEGABYTES
from codeft_training.preference_recipe import DPO, PREFERENCE_RECIPES
from codeft_training.recipes import RECIPES, SMOKE
from codeft_training.train.launch import Nodes, launch

_PACKED = existing_folder("materialize corpus/packed first")
_PROBE = existing_file("give JSON lines of texts")

# before transformers or trl are imported: nothing of a run goes to the network unless the recipe names a Hub model
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        options = _parser().parse_args(arguments)
        is_first = options.run is commands.train and "RANK" not in os.environ
        nodes = Nodes(options.nodes, options.node_rank, options.rendezvous) if is_first else None
    except ValueError as error:
        with open_reporter() as reporter:
            reporter.fail(str(error))
        return 2
    if nodes and (nodes.size > 1 or options.processes > 1):
        return launch(arguments if arguments is not None else sys.argv[1:], options.processes, nodes)
    with open_reporter() as reporter:
        try:
            return options.run(options, reporter)
        except (ValueError, OSError, FloatingPointError) as error:
            reporter.fail(str(error))
        except (MemoryError, RuntimeError) as error:
            if not (reason := out_of_memory(error)):
                raise
            reporter.fail(f"{reason}; lower batch_rows or context_tokens, or choose a smaller model")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=program_name("python -m codeft_training"), description=__doc__)
    subparsers = parser.add_subparsers(required=True)

    def add(name: str, run: commands.Command, help_line: str) -> argparse.ArgumentParser:
        command = subparsers.add_parser(name, help=help_line)
        command.set_defaults(run=run)
        command.add_argument("--output", type=Path, required=True, help="folder to write")
        return command

    steps = "tokenizer, packed rows and checkpoint of one recipe, each only where it is not up to date"
    _run_options(add("run", commands.run, steps))
    _tokenizer_options(add("tokenizer", commands.tokenizer, "train a recipe's byte-level BPE tokenizer on a corpus"))
    _pack_options(add("pack", commands.pack, "tokenize a corpus and pack it into a recipe's rows"))
    _train_options(add("train", commands.train, "train a recipe's model on packed rows, or resume"))
    _prefer_options(add("prefer", commands.prefer, "train a checkpoint on preference pairs (DPO), or resume"))
    _diffuse_options(add("diffuse", commands.diffuse, "adapt a checkpoint to diffusion on packed rows, or resume"))
    _fill_options(add("fill", commands.fill, "fill the middle or end of a text by a checkpoint of diffuse"))
    _search_options(add("search-mixture", commands.search_mixture, "find shares of the sources by short runs"))
    _export_model_options(add("export-model", commands.export_model, "write a finished run as a Hub model folder"))
    _export_corpus_options(add("export-corpus", commands.export_corpus, "write a corpus as a Hub dataset folder"))
    return parser


def _run_options(command: argparse.ArgumentParser) -> None:
    _corpus_option(command)
    _recipe_options(command)
    _sample_option(command)
    _row_options(command)
    _run_file_options(command)


def _tokenizer_options(command: argparse.ArgumentParser) -> None:
    _corpus_option(command)
    _recipe_options(command)
    _sample_option(command)


def _sample_option(command: argparse.ArgumentParser) -> None:
    sample = "text to learn the vocabulary from, drawn from all sources; a smaller corpus is read whole"
    command.add_argument("--sample-megabytes", type=int, default=SAMPLE_MEGABYTES, metavar="N", help=sample)


def _pack_options(command: argparse.ArgumentParser) -> None:
    _corpus_option(command)
    _tokenizer_folder_option(command)
    _recipe_options(command)
    _row_options(command)


def _row_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--fim-rate", type=float, default=0.0, help="share of plain code that is reordered")
    policy = "policy for <think> spans of a source: train, mask or remove"
    longer = "conversations longer than a row: split with the question repeated, cut after the first row, or drop"
    command.add_argument("--long-conversations", default="split", metavar="POLICY", help=longer)
    for name in ("sources", "formats", "languages"):
        only = f"only documents of these {name}; without it, of all"
        command.add_argument(f"--{name}", nargs="+", default=[], metavar="NAME", help=only)
    command.add_argument("--thoughts", action="append", default=[], metavar="SOURCE=POLICY", help=policy)


def _train_options(command: argparse.ArgumentParser) -> None:
    _tokenizer_folder_option(command)
    command.add_argument("--packed", type=_PACKED, required=True, help="folder of corpus/packed")
    _recipe_options(command)
    command.add_argument("--processes", type=int, default=1, help="of this machine, one for each GPU")
    command.add_argument("--nodes", type=int, default=1, help="machines that share the run: the command runs on each")
    command.add_argument("--node-rank", type=int, default=0, help="which of the machines this is; 0 writes the files")
    command.add_argument("--rendezvous", default="", metavar="HOST:PORT", help="a free port of the machine of rank 0")
    _run_file_options(command)


def _diffuse_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--base", required=True, help="folder of the checkpoint to adapt, or a Hub id")
    command.add_argument("--packed", type=_PACKED, required=True, help="folder of rows of its own tokenizer")
    command.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="set a field of the recipe")


def _fill_options(command: argparse.ArgumentParser) -> None:
    checkpoint, text = existing_folder("give a folder that diffuse wrote"), existing_file("give a file with text")
    command.add_argument("--checkpoint", type=checkpoint, required=True, help="folder that diffuse wrote")
    command.add_argument("--prefix", type=text, required=True, help="file with the text before; not empty")
    command.add_argument("--suffix", type=text, help="file with the text after; default: nothing")
    command.add_argument("--tokens", type=int, required=True, help="to fill")
    command.add_argument("--steps", type=int, default=0, help="passes; default: one a token")


def _search_options(command: argparse.ArgumentParser) -> None:
    _corpus_option(command)
    _tokenizer_folder_option(command)
    _recipe_options(command)
    command.add_argument("--runs", type=int, default=24, help="drawn mixtures, each a run of the recipe")
    text = "measurement of held-out documents to make small; bits_per_byte_code counts those of code alone"
    command.add_argument("--target", default="bits_per_byte", help=text)
    command.add_argument("--probe", type=_PROBE, help="JSON lines of texts; a target may be probe_bits_per_byte_DOMAIN")
    command.add_argument("--seed", type=int, default=1, help="of the drawn mixtures")
    command.add_argument("--seeds", type=int, default=1, help="runs of the corpus's own and of the found mixture")


def _prefer_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--base", required=True, help="folder of the checkpoint to begin with, or a Hub id")
    pairs = existing_file("make it by python -m codeft_eval pairs")
    command.add_argument("--pairs", type=pairs, required=True, help="pairs.jsonl of python -m codeft_eval pairs")
    command.add_argument("--recipe", default=DPO.name, help=f"one of {sorted(PREFERENCE_RECIPES)}")
    command.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a recipe's field")


def _recipe_options(command: argparse.ArgumentParser) -> None:
    recipe = command.add_mutually_exclusive_group()
    recipe.add_argument("--recipe", default=SMOKE.name, help=f"one of {sorted(RECIPES)}")
    recipe.add_argument("--recipe-json", help="a resolved recipe, as result.json records it")
    command.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a recipe's field")


def _run_file_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--probe", type=_PROBE, help="JSON lines of texts to evaluate at each validation")
    _lineage_option(command)


def _export_model_options(command: argparse.ArgumentParser) -> None:
    run, scores = existing_folder("give the folder that train wrote"), existing_file("give a file of Markdown")
    command.add_argument("--run-folder", type=run, required=True, help="the folder train wrote")
    command.add_argument("--scores", type=scores, help="Markdown with the scores of this checkpoint, for the card")
    command.add_argument("--no-gguf", action="store_true", help="leave model.gguf out")
    _push_option(command)


def _export_corpus_options(command: argparse.ArgumentParser) -> None:
    _corpus_option(command)
    _lineage_option(command)
    _push_option(command)


def _corpus_option(command: argparse.ArgumentParser) -> None:
    table = existing_folder("materialize corpus/mixture first")
    command.add_argument("--corpus", type=table, required=True, help="folder of the table corpus/mixture")


def _tokenizer_folder_option(command: argparse.ArgumentParser) -> None:
    folder = existing_folder("materialize model/tokenizer first")
    command.add_argument("--tokenizer", type=folder, required=True, help="folder of model/tokenizer")


def _lineage_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--lineage", type=existing_file("give JSON"), help="JSON about the corpus for the card")


def _push_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--push", default="", metavar="OWNER/NAME", help="send the folder to the Hub; needs HF_TOKEN")


if __name__ == "__main__":
    collect_rarely()
    wait_briefly()
    sys.exit(main())
