"""The model card of a checkpoint, in the words a reader of the Hub expects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from codeft_assets.base.markdown import table

_HUB_LICENSES = {"apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "mit", "unlicense"}
"""Identifiers that the Hub knows under our sources' own names."""


def model_card(
    result: dict[str, Any], lineage: dict[str, Any], *, scores: str = "", curves: str = "", gguf: str = ""
) -> str:
    """Return the README of a checkpoint: recipe, curves, scores, sources with revisions and licenses, drops.

    Args:
        result: The content of ``result.json``.
        lineage: Of the corpus: ``sources`` (source, revision, license, num_in, num_kept, num_tokens) and ``dropped``.
        scores: Markdown about this checkpoint; without it the card notes that it was not scored.
        curves: Name of the image of the curves, if there is one.
        gguf: Name of the GGUF file, if there is one.
    """
    recipe = result["recipe"]
    base = recipe.get("base_model", "")
    front = [
        "library_name: transformers",
        "pipeline_tag: text-generation",
        *([f"base_model: {hub_name(base)}"] if base else []),
        # a base model's license holds for what is made of it, and a folder does not say which one it is
        *license_fields([source.get("license", "") for source in lineage.get("sources", [])] + [""] * bool(base)),
        "tags:\n- code\n- codeft",
    ]
    return "\n\n".join(
        [
            "\n".join(["---", *front, "---"]),
            f"# codeFT {recipe['name']}",
            f"{result['num_parameters']:,} parameters, context {recipe['context_tokens']} tokens; {_training(result)}.",
            *([_usage(gguf)] if gguf else []),
            "## Training",
            table(("property", "value"), _training_rows(result)),
            *stage_tables(result.get("stages", [])),
            *([f"![training loss and held-out bits per byte]({curves})"] if curves else []),
            "## Scores",
            _demoted(scores) if scores else "This checkpoint has not been scored.",
            *corpus_sections(result["corpus_content_hash"], _counted(lineage, result["tokens_by_source"])),
            f"Packed rows `{result['packed_content_hash'][:32]}`{_selection(result.get('selection', {}))}.",
            "",
        ]
    )


def hub_name(base_model: str) -> str:
    """Return a base model's id, or the name of its folder: the Hub refuses a card that has a path for an id."""
    return base_model if re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", base_model) else Path(base_model).name


def license_fields(licenses: Iterable[str]) -> list[str]:
    """Return a card's fields about its license: the one that all parts have, or ``other`` where they have several."""
    found = {license.lower() for license in licenses}
    if len(found) == 1 and found <= _HUB_LICENSES:
        return [f"license: {found.pop()}"]
    return ["license: other", "license_name: by-source"]


def _selection(selection: dict[str, list[str]]) -> str:
    chosen = "; ".join(f"{column} {', '.join(values)}" for column, values in selection.items())
    return f", of a part of the corpus only: {chosen}" if chosen else ""


def _training_rows(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    recipe = result["recipe"]
    return [
        ("recipe", f"{recipe['name']} ({result['recipe_hash']})"),
        ("weights, sha256", result.get("weights_hash", "see model.safetensors")),
        ("weights kept", _kept(result)),
        ("tokens seen", f"{result['num_tokens_seen']:,}"),
        ("tokens in the corpus", f"{result['num_tokens_in_corpus']:,}"),
        # more than four are worth less and less (arXiv 2305.16264): a reader should see them
        ("passes over the corpus", f"{result['num_tokens_seen'] / max(result['num_tokens_in_corpus'], 1):.1f}"),
        ("first and final loss", f"{_number(result['first_loss'])} → {_number(result['final_loss'])}"),
        *((name, _number(value)) for name, value in result["validation"].items()),
        ("seconds", f"{result['seconds']}"),
        *((name, value) for name, value in result["environment"].items()),
        *((f"recipe: {name}", str(value)) for name, value in recipe.items() if name not in _NOT_LISTED),
    ]


_NOT_LISTED = {"name", "about", "stages"}
"""Of a recipe's record: words about it, and stages, which have tables of their own."""


def _training(result: dict[str, Any]) -> str:
    """Return in words what was done; the recipe's own words are about what it is for."""
    recipe, stages = result["recipe"], [stage["name"] for stage in result.get("stages", [])]
    begin = f"fine-tuned from {hub_name(recipe['base_model'])}" if "base_model" in recipe else "trained from scratch"
    adapters = f" by low-rank additions of rank {recipe['lora_rank']}" if recipe.get("lora_rank") else ""
    named = f" in the stages {', '.join(stages)}" if stages else ""
    return f"{begin}{adapters} on {result['num_tokens_seen']:,} tokens{named}"


def stage_tables(stages: Sequence[dict[str, Any]]) -> list[str]:
    """Return a table of the stages as they ran and one of the sources they read; none without stages."""
    if not stages:
        return []
    columns = ("stage", "steps", "tokens", "learning rate", "bits per byte at its end", "mixture wanted")
    rows = [
        (
            stage["name"],
            f"{stage['num_steps']:,}",
            f"{stage['num_tokens']:,}",
            f"{stage['start_rate']:.3g} → {stage['end_rate']:.3g}",
            _number(stage["bits_per_byte"]),
            ", ".join(f"{weight:g} {selector}" for selector, weight in stage["mixture"].items()) or "all rows",
        )
        for stage in stages
    ]
    sources = sorted({source for stage in stages for source in stage["tokens_by_source"]})
    read = [(source, *(_source_share(stage, source) for stage in stages)) for source in sources]
    return [table(columns, rows), table(("source", *(f"of {stage['name']}" for stage in stages)), read)]


def _source_share(stage: dict[str, Any], source: str) -> str:
    tokens = stage["tokens_by_source"]
    if source not in tokens:
        return "none"
    return f"{tokens[source] / sum(tokens.values()):.1%}, pass {stage['passes'][source]:.2g}"


def _kept(result: dict[str, Any]) -> str:
    kept, last_step = result.get("kept"), result.get("last_step")
    if not kept:
        return "of the last step"
    average = ", the average of the weights (EMA)" if kept["weights"] == "average" else ""
    reason = "" if kept["step"] == last_step and not average else "; least held-out bits per byte"
    return f"of step {kept['step']:,} of {last_step:,}{average}{reason}"


def _usage(gguf: str) -> str:
    # transformers 5.23 does not read a Qwen3 file's head size: it is in the config
    return (
        f"`{gguf}` is for llama.cpp and programs built on it. In transformers, pass the config along: "
        f'`AutoModelForCausalLM.from_pretrained(f, gguf_file="{gguf}", config=AutoConfig.from_pretrained(f))`.'
    )


def _counted(lineage: dict[str, Any], tokens_by_source: dict[str, int]) -> dict[str, Any]:
    """Return the lineage with each source's tokens as packed, repetitions included."""
    counts = {source: f"{n:,}" for source, n in tokens_by_source.items()}
    sources = [{"num_tokens": counts.get(source["source"], "0")} | source for source in lineage.get("sources", [])]
    return {**lineage, "sources": sources}


def corpus_sections(content_hash: str, lineage: dict[str, Any]) -> list[str]:
    """Return the parts of a card about the corpus: its hash, its sources, and the documents dropped by reason."""
    sources = lineage.get("sources", [])
    names = {"source": "source", "revision": "revision", "license": "license", "num_tokens": "tokens"}
    names |= {"num_kept": "documents kept", "num_in": "documents in"}
    known = [name for name in names if any(name in source for source in sources)]  # a corpus has no tokens yet
    rows = [tuple(source.get(name, "not counted") for name in known) for source in sources]
    listed = table([names[name] for name in known], rows)
    dropped = sorted(lineage.get("dropped", {}).items())
    return [
        "## Corpus",
        f"Content hash `{content_hash}`.",
        listed if sources else "No lineage was given.",
        "## Dropped",
        table(("reason", "documents"), dropped),
    ]


def _demoted(markdown: str) -> str:
    """Return Markdown without its title, its headings one level below the card's own."""
    lines = [line for line in markdown.strip().splitlines() if not line.startswith("# ")]
    return "\n".join(f"#{line}" if line.startswith("##") else line for line in lines).strip()


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
