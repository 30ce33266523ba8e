"""The model card of a checkpoint that was trained on preferences: its base, its pairs, and how far they moved it."""

from __future__ import annotations

from typing import Any

from codeft_assets.base.markdown import table
from codeft_training.export.model_card import hub_name

_METHODS = {
    "preference": "direct preference optimization (arXiv 2305.18290), the base as the fixed reference",
    "anchored": "direct preference optimization with the likelihood of the right completions (arXiv 2404.19733)",
    "chosen": "the likelihood of the right completions alone",
}
_LISTED = ("num_items", "num_items_with_pairs", "num_pairs", "mean_chars_chosen", "mean_chars_rejected", "content_hash")


def preference_card(result: dict[str, Any]) -> str:
    """Return the README of a checkpoint; corpus and sources are on its base's own card."""
    recipe, base = result["recipe"], hub_name(result["base_model"])
    pairs = result["pairs"]
    left_out = sorted(pairs.get("left_out", {}).items())
    front = ["library_name: transformers", "pipeline_tag: text-generation", f"base_model: {base}"]
    front += ["license: other", "license_name: by-source", "tags:\n- code\n- codeft"]
    return "\n\n".join(
        [
            "\n".join(["---", *front, "---"]),
            f"# codeFT {recipe['name']} of {base}",
            f"{result['num_parameters']:,} parameters; {base} trained on {result['num_pairs_trained']:,} pairs of "
            f"right and wrong completions by {_METHODS[recipe['loss']]}.",
            "## Training",
            table(("property", "value"), _training(result)),
            "## Pairs",
            f"Completions {_writer(result)}, judged by their tests in a sandbox. The two of a pair are of similar "
            "length, and pairs were left out until right and wrong completions were equally long on average, or as "
            "nearly as the pairs allowed.",
            table(("property", "value"), [(name, pairs[name]) for name in _LISTED if name in pairs]),
            table(("left out because of", "items or pairs"), left_out) if left_out else "Nothing was left out.",
            "## Scores",
            "This checkpoint has not been scored.",
            "",
        ]
    )


def _writer(result: dict[str, Any]) -> str:
    benchmarks = ", ".join(result["pairs"].get("benchmarks", [])) or "exercises that are not recorded"
    return f"of the model {result['pairs'].get('model_hash', 'not recorded')[:16]} on {benchmarks}"


def _training(result: dict[str, Any]) -> list[tuple[str, Any]]:
    held_out = {f"held-out pairs: {name}": f"{value:.4g}" for name, value in result["held_out"].items()}
    return [
        ("base, by content", result["base_hash"]),
        ("recipe", f"{result['recipe']['name']} ({result['recipe_hash']})"),
        ("weights, sha256", result["weights_hash"]),
        ("tokens seen", f"{result['num_tokens_seen']:,}"),
        ("steps", f"{result['last_step']:,}"),
        ("pairs held out, too long", f"{result['num_pairs_held_out']:,}, {result['num_pairs_too_long']:,}"),
        *held_out.items(),
        *((f"last steps: {name}", f"{value:.4g}") for name, value in result["last"].items()),
        ("seconds", f"{result['seconds']}"),
        *result["environment"].items(),
        *((f"recipe: {name}", str(value)) for name, value in result["recipe"].items() if name not in {"name", "about"}),
    ]
