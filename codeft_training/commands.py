"""The commands of the command line: each reads its options, does its work and reports a materialization."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codeft_assets.base import markdown, report
from codeft_assets.base.files import folder_hash, write_atomically
from codeft_assets.base.report import Reporter
from codeft_training.data.corpus import Corpus
from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.tokenizer import adopt_tokenizer, train_tokenizer
from codeft_training.export.model_card import stage_tables
from codeft_training.recipe import FinetuneRecipe, PretrainRecipe, Recipe, read_recipe, values_hash
from codeft_training.recipes import find_recipe
from codeft_training.train.signals import StopRequest

Command = Callable[[argparse.Namespace, Reporter], int]
"""Returns the exit code."""


def run(options: argparse.Namespace, reporter: Reporter) -> int:
    """Make tokenizer, packed rows and checkpoint of one recipe in one folder."""
    output = options.output
    folders = {"tokenizer": output / "tokenizer", "packed": output / "packed", "processes": 1}
    for command, folder in ((tokenizer, folders["tokenizer"]), (pack, folders["packed"]), (train, output)):
        code = command(argparse.Namespace(**{**vars(options), **folders, "output": folder}), reporter)
        if code:
            return code
    return 0


def tokenizer(options: argparse.Namespace, reporter: Reporter) -> int:
    """Train a tokenizer, or take over a base model's."""
    corpus, recipe = Corpus(options.corpus), _recipe(options)
    if isinstance(recipe, FinetuneRecipe):
        made = adopt_tokenizer(corpus, options.output, base_model=recipe.finetuning.base_model)
    else:
        assert isinstance(recipe, PretrainRecipe), "a recipe is one of two kinds"
        size = recipe.model.vocab_size
        made = train_tokenizer(corpus, options.output, vocab_size=size, sample_megabytes=options.sample_megabytes)
    metadata = {
        "vocab_size": made.vocab_size,
        "num_documents": made.num_documents,
        "num_bytes": made.num_bytes,
        "sample_fraction": round(made.sample_fraction, 4),
        "bytes_per_token": report.markdown(
            markdown.table(("language", "bytes per token"), made.bytes_per_token.items())
        ),
        "path": report.path(options.output),
    }
    reporter.materialize(metadata, made.content_hash)
    return 0


def pack(options: argparse.Namespace, reporter: Reporter) -> int:
    """Tokenize a corpus and pack it into rows."""
    from codeft_training.data import packing

    recipe = _recipe(options)
    manifest = packing.pack(
        Corpus(options.corpus),
        options.tokenizer,
        options.output,
        context_tokens=recipe.data.context_tokens,
        grouped=bool(recipe.schedule.stages),
        fim_rate=options.fim_rate,
        think_spans=_pairs("--thoughts", options.thoughts),
        long_conversations=options.long_conversations,
        sources=tuple(options.sources),
        formats=tuple(options.formats),
        languages=tuple(options.languages),
    )
    train, validation = manifest["splits"]["train"], manifest["splits"]["validation"]
    counts = {name: value for name, value in train.items() if isinstance(value, int)}
    metadata = {
        "dagster/row_count": train["num_rows"],
        **counts,
        "num_validation_tokens": validation["num_tokens"],
        "fill_fraction": train["fill_fraction"],
        "context_tokens": manifest["context_tokens"],
        "selection": json.dumps(manifest["selection"]),
        "tokens_by_source": report.markdown(markdown.table(("source", "tokens"), train["tokens_by_source"].items())),
        "long_conversations": report.markdown(_long_conversations(train["long_conversations"])),
        "path": report.path(options.output),
    }
    reporter.materialize(metadata, manifest["content_hash"])
    return 0


def _long_conversations(by_source: dict[str, dict[str, int]]) -> str:
    columns = ("source", "conversations longer than a row", "tokens repeated", "tokens left out")
    return markdown.table(columns, ((source, *counts.values()) for source, counts in by_source.items()))


def train(options: argparse.Namespace, reporter: Reporter) -> int:
    """Train a model, or resume; exit with 143 after a stop request."""
    stop = StopRequest().install()
    from codeft_training.run_spec import STOPPED_EXIT_CODE, Stopped, TrainingRun
    from codeft_training.train import run as training

    spec = TrainingRun(
        packed=PackedRows(options.packed),
        tokenizer=options.tokenizer,
        output=options.output,
        recipe=_recipe(options),
        lineage=_lineage(options),
        eval_texts=options.probe,
    )
    try:
        result = training.train(spec, reporter, stop)
    except Stopped as stopped:
        reporter.log(str(stopped))
        return STOPPED_EXIT_CODE
    if result is not None:
        reporter.materialize(_train_metadata(result, options.output / "checkpoint"), result["content_hash"])
    return 0


def prefer(options: argparse.Namespace, reporter: Reporter) -> int:
    """Train a checkpoint on preference pairs, or resume; exit with 143 after a stop request."""
    stop = StopRequest().install()
    from codeft_training.preference_recipe import find_preference_recipe
    from codeft_training.run_spec import STOPPED_EXIT_CODE, Stopped
    from codeft_training.train.prefer import PreferenceRun
    from codeft_training.train.prefer import prefer as train_on_pairs

    recipe = find_preference_recipe(options.recipe, _pairs("--set", options.set))
    try:
        run = PreferenceRun(base_model=options.base, pairs=options.pairs, output=options.output, recipe=recipe)
        result = train_on_pairs(run, reporter, stop)
    except Stopped as stopped:
        reporter.log(str(stopped))
        return STOPPED_EXIT_CODE
    metadata = {name: value for name, value in result.items() if isinstance(value, int | float)}
    metadata |= {f"held_out_{name}": round(value, 4) for name, value in result["held_out"].items()}
    metadata |= {"recipe": recipe.name, "base_hash": result["base_hash"], "weights_hash": result["weights_hash"][:16]}
    metadata["model_card"] = report.markdown(_card_body(options.output / "checkpoint"))
    reporter.materialize(metadata | {"path": report.path(options.output / "checkpoint")}, result["content_hash"])
    return 0


def diffuse(options: argparse.Namespace, reporter: Reporter) -> int:
    """Adapt a checkpoint to diffusion, or go on; exit with 143 after a stop request."""
    stop = StopRequest().install()
    from codeft_training.diffusion_recipe import DiffusionRecipe
    from codeft_training.run_spec import STOPPED_EXIT_CODE, Stopped
    from codeft_training.train.diffuse import DiffusionRun
    from codeft_training.train.diffuse import diffuse as adapt

    recipe = DiffusionRecipe().parse(_pairs("--set", options.set))
    run = DiffusionRun(options.base, PackedRows(options.packed), options.output, recipe)
    try:
        result = adapt(run, reporter, stop)
    except Stopped as stopped:
        reporter.log(str(stopped))
        return STOPPED_EXIT_CODE
    metadata = {name: value for name, value in result.items() if isinstance(value, int | float)}
    reporter.materialize(metadata | {"path": report.path(options.output / "checkpoint")}, result["weights_hash"])
    return 0


def fill(options: argparse.Namespace, reporter: Reporter) -> int:
    """Write a text whose middle, or end, an adapted checkpoint has filled."""
    from codeft_training.train.diffuse import fill_text

    prefix, suffix = options.prefix.read_text(), options.suffix.read_text() if options.suffix else ""
    counts = {"num_tokens": options.tokens, "num_steps": options.steps or options.tokens}
    filled = fill_text(options.checkpoint, prefix, suffix, **counts)
    write_atomically(options.output, prefix + filled + suffix)
    reporter.materialize({"filled": filled, "path": report.path(options.output)}, values_hash({"filled": filled}))
    return 0


def search_mixture(options: argparse.Namespace, reporter: Reporter) -> int:
    """Search the mixture of the sources by short runs; exit with 143 after a stop request."""
    stop = StopRequest().install()
    from codeft_training.run_spec import STOPPED_EXIT_CODE, Stopped
    from codeft_training.train.mixture_search import FOUND, NATURAL, MixtureSearch
    from codeft_training.train.mixture_search import search_mixture as search

    recipe = _recipe(options)
    if not isinstance(recipe, PretrainRecipe):
        raise ValueError(f"recipe {recipe.name!r} fine-tunes a base model; a search trains small models from scratch")
    places = {"corpus": options.corpus, "tokenizer": options.tokenizer, "output": options.output}
    aim = {"target": options.target, "eval_texts": options.probe, "seed": options.seed, "num_seeds": options.seeds}
    try:
        found = search(MixtureSearch(**places, recipe=recipe, num_runs=options.runs, **aim), reporter, stop)
    except Stopped as stopped:
        reporter.log(str(stopped))
        return STOPPED_EXIT_CODE
    columns = ("source", "share in the corpus", "share found")
    rows = [(name, found["natural_shares"][name], share) for name, share in found["shares"].items()]
    losses = {f"{kind}_{name}": found[kind][name] for kind in ("predicted", "measured") for name in (NATURAL, FOUND)}
    numbers = {name: value for name, value in found.items() if isinstance(value, int | float)}
    table = report.markdown(markdown.table(columns, rows))
    metadata = {"target": found["target"], **numbers, **losses, "shares": table, "path": report.path(options.output)}
    reporter.materialize(metadata, values_hash(found["shares"]))
    return 0


def _train_metadata(result: dict[str, Any], checkpoint: Path) -> dict[str, Any]:
    numbers = {name: value for name, value in result.items() if isinstance(value, int | float)}
    numbers |= result["validation"] | result["probe"]
    if "kept" in result:  # a run that an earlier release finished has none
        numbers["kept_step"] = result["kept"]["step"]
    if "probe_seconds" in result:
        numbers["probe_fraction"] = result["probe_seconds"] / max(result["seconds"], 1e-9)
    recipe = result["recipe"]
    stages = {"stages": report.markdown("\n\n".join(stage_tables(result["stages"])))} if result["stages"] else {}
    return {
        "recipe": recipe["name"],
        "base_model": recipe.get("base_model", "none: from scratch"),
        "selection": json.dumps(result["selection"]),
        **stages,
        **{name: round(value, 4) if isinstance(value, float) else value for name, value in numbers.items()},
        "weights_hash": result["weights_hash"][:16],
        "model_card": report.markdown(_card_body(checkpoint)),
        "path": report.path(checkpoint),
    }


def export_model(options: argparse.Namespace, reporter: Reporter) -> int:
    """Write a finished run as a Hub model folder."""
    from codeft_training.export import folders

    scores = options.scores.read_text() if options.scores else ""
    files = folders.export_model(options.run_folder, options.output, scores=scores, gguf=not options.no_gguf)
    return _report_export(options, reporter, files, "model")


def export_corpus(options: argparse.Namespace, reporter: Reporter) -> int:
    """Write a corpus as a Hub dataset folder."""
    from codeft_training.export import folders

    files = folders.export_corpus(Corpus(options.corpus), options.output, lineage=_lineage(options))
    return _report_export(options, reporter, files, "dataset")


def _report_export(options: argparse.Namespace, reporter: Reporter, files: dict[str, int], repo_type: str) -> int:
    from codeft_training.export.folders import push

    pushed = {"pushed": push(options.output, options.push, repo_type=repo_type)} if options.push else {}
    metadata = {
        "num_files": len(files),
        "num_bytes": sum(files.values()),
        "files": report.markdown(markdown.table(("file", "bytes"), files.items())),
        "card": report.markdown(_card_body(options.output)),
        "path": report.path(options.output),
        **pushed,
    }
    reporter.materialize(metadata, folder_hash(options.output, files))
    return 0


def _card_body(folder: Path) -> str:
    """Return the card of a Hub folder without its YAML front matter."""
    return (folder / "README.md").read_text().split("---", 2)[2]


def _recipe(options: argparse.Namespace) -> Recipe:
    overrides = _pairs("--set", options.set)
    if options.recipe_json is not None:
        return _read_recipe_json(options.recipe_json).parse(overrides)
    return find_recipe(options.recipe, overrides)


def _read_recipe_json(text: str) -> Recipe:
    try:
        return read_recipe(json.loads(text))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"--recipe-json {text[:80]!r} must be JSON: {error}; write it by json.dumps(recipe.record())"
        ) from error


def _lineage(options: argparse.Namespace) -> dict[str, Any]:
    return json.loads(options.lineage.read_text()) if options.lineage else {}


def _pairs(flag: str, entries: list[str]) -> dict[str, str]:
    pairs = [entry.partition("=") for entry in entries]
    malformed = [entry for entry, (_, mark, _) in zip(entries, pairs, strict=True) if not mark]
    if malformed:
        raise ValueError(f"{flag} takes NAME=VALUE, not {malformed[0]!r}")
    return {name: value for name, _, value in pairs}
