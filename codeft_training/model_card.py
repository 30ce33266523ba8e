"""The model card: what a checkpoint is made of, in the words a reader of the Hub expects."""

from __future__ import annotations

from typing import Any


def model_card(result: dict[str, Any], lineage: dict[str, Any]) -> str:
    """Return the README of a checkpoint: recipe, corpus, sources with revisions and licenses, losses, environment."""
    recipe = result["recipe"]
    sources = lineage.get("sources", [])
    tags = "\n".join(["- code", "- codeft"])
    base = f"base_model: {recipe['base_model']}\n" if recipe["base_model"] else ""
    return "\n".join(
        [
            f"---\nlibrary_name: transformers\npipeline_tag: text-generation\n{base}tags:\n{tags}\n---",
            f"# codeFT {recipe['name']}",
            f"{recipe['about']}. {result['num_parameters']:,} parameters, context {recipe['context_tokens']} tokens.",
            "## Training",
            _table(
                ("what", "value"),
                [
                    ("recipe", f"{recipe['name']} ({result['recipe_hash']})"),
                    ("tokens seen", f"{result['num_tokens_seen']:,}"),
                    ("tokens in the corpus", f"{result['num_tokens_in_corpus']:,}"),
                    ("first and final loss", f"{_number(result['first_loss'])} → {_number(result['final_loss'])}"),
                    *((name, _number(value)) for name, value in result["validation"].items()),
                    ("seconds", f"{result['seconds']}"),
                    ("environment", ", ".join(f"{k} {v}" for k, v in result["environment"].items())),
                ],
            ),
            "## Corpus",
            f"Content hash `{result['corpus_content_hash']}`, packed rows `{result['packed_content_hash'][:32]}`.",
            _table(
                ("source", "revision", "license", "documents kept", "documents in"),
                [(s["source"], s["revision"], s["license"], s["num_kept"], s["num_in"]) for s in sources],
            )
            if sources
            else "No lineage was given.",
            "## Dropped",
            _table(("reason", "documents"), sorted(lineage.get("dropped", {}).items())),
            "",
        ]
    )


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def _table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [" | ".join(header), " | ".join("---" for _ in header)]
    lines += [" | ".join(str(value).replace("|", "\\|") for value in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
