"""Mixture search: short runs on drawn mixtures of the sources, a regression, and the mixture that it finds best.

Invariant: a run that is finished is not run again, as long as recipe, corpus and tokenizer are the same. The found
mixture is then run itself, beside the corpus's own: a prediction that nobody measured is no result.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from codeft_assets.base.files import file_hash, write_atomically
from codeft_assets.base.report import Reporter, SilentReporter
from codeft_training.data.corpus import Corpus
from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.packing import pack
from codeft_training.measure.mixture_regression import MIN_RUNS, best_mixture, draw_mixtures, fit_losses
from codeft_training.recipe import PretrainRecipe
from codeft_training.recipe_stages import Stage
from codeft_training.run_spec import TrainingRun
from codeft_training.train.run import train
from codeft_training.train.signals import StopRequest

RUNS_FILE, RESULT_FILE = "runs.jsonl", "search.json"
NATURAL, FOUND = "natural", "found"
FINAL_RATE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureSearch:
    """The inputs of a search."""

    corpus: Path
    tokenizer: Path
    output: Path
    recipe: PretrainRecipe
    """Of each run; its schedule is replaced by one falling line."""
    num_runs: int
    target: str = "bits_per_byte"
    """The measurement of held-out documents, or of evaluation texts, that a mixture shall make small."""
    eval_texts: Path | None = None
    """JSON lines of texts that no source has: held-out documents have the corpus's own mixture, and favour it."""
    seed: int = 1
    num_seeds: int = 1
    """Runs, each with a seed of its own, of the corpus's own mixture and of the found one."""

    def __post_init__(self) -> None:
        if self.num_runs < MIN_RUNS:
            raise ValueError(f"{self.num_runs} runs are too few for a regression; make at least {MIN_RUNS}")
        if self.num_seeds < 1:
            raise ValueError(f"num_seeds {self.num_seeds} must be at least 1: what nobody measured is no result")

    def proxy(self, mixture: Mapping[str, float], repetition: int = 0) -> PretrainRecipe:
        """Return the recipe of one run; each repetition has a seed of its own."""
        weights = {f"source={source}": share for source, share in mixture.items()}
        stage = Stage(name="proxy", share=1.0, end_rate=FINAL_RATE, mixture=weights)
        schedule = replace(self.recipe.schedule, decay_fraction=0.0, stages=(stage,))
        data = replace(self.recipe.data, seed=self.recipe.data.seed + repetition)
        return replace(self.recipe, schedule=schedule, data=data)


def search_mixture(search: MixtureSearch, reporter: Reporter, stop: StopRequest) -> dict[str, Any]:
    """Run a search, or go on with it, and return its result, which is on disk then.

    Raises:
        Stopped: SIGTERM came; finished runs are kept.
        ValueError: the corpus has one source, or the target is not measured.
    """
    packed = search.output / "packed"
    context = search.recipe.data.context_tokens
    manifest = pack(Corpus(search.corpus), search.tokenizer, packed, context_tokens=context, grouped=True)
    tokens = manifest["splits"]["train"]["tokens_by_source"]
    sources = sorted(tokens)
    if len(sources) < 2:
        raise ValueError(f"the corpus has the one source {sources}; a mixture needs two")
    natural = np.array([tokens[source] for source in sources], dtype=float)
    natural /= natural.sum()
    drawn = draw_mixtures(natural, search.num_runs, seed=search.seed)
    proxies = _Proxies(search, PackedRows(packed), sources, reporter, stop)
    rows = [proxies.run(str(number), mixture) for number, mixture in enumerate(drawn)]
    regression = fit_losses(drawn, [row["loss"] for row in rows])
    found = best_mixture(regression, natural, seed=search.seed)
    checks = {
        name: [proxies.run(name, mixture, repetition) for repetition in range(search.num_seeds)]
        for name, mixture in ((NATURAL, natural), (FOUND, found))
    }
    predicted = regression.predict(np.stack([natural, found]))
    result = {
        "target": search.target,
        "recipe": search.recipe.name,
        "identity": proxies.identity,
        "num_runs": len(rows),
        "rank_correlation": round(regression.rank_correlation, 4),
        "shares": {source: round(float(share), 6) for source, share in zip(sources, found, strict=True)},
        "natural_shares": {source: round(float(share), 6) for source, share in zip(sources, natural, strict=True)},
        "predicted": {name: round(float(value), 5) for name, value in zip((NATURAL, FOUND), predicted, strict=True)},
        **_measured(rows, checks),
    }
    write_atomically(search.output / RESULT_FILE, json.dumps(result, indent=1) + "\n")
    return result


def _measured(rows: list[dict[str, Any]], checks: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the losses of the mixtures that were repeated, and the cost of all runs."""
    everything = rows + [row for found in checks.values() for row in found]
    return {
        "measured": {name: round(fmean(row["loss"] for row in found), 5) for name, found in checks.items()},
        "measured_by_seed": {name: [row["loss"] for row in found] for name, found in checks.items()},
        "seconds": round(sum(row["seconds"] for row in everything), 1),
        "num_tokens": sum(row["num_tokens"] for row in everything),
    }


class _Proxies:
    """Runs mixtures, each once: finished ones are lines of a file."""

    def __init__(
        self, search: MixtureSearch, packed: PackedRows, sources: Sequence[str], reporter: Reporter, stop: StopRequest
    ) -> None:
        self._search, self._packed, self._sources = search, packed, sources
        self._reporter, self._stop = reporter, stop
        texts = file_hash(search.eval_texts)[:8] if search.eval_texts else "none"
        # texts change no weight, but what is measured
        self.identity = f"{self._training(dict.fromkeys(sources, 1.0), Path(), 0).identity}-{texts}-{search.target}"
        self._path = search.output / RUNS_FILE
        lines = self._path.read_text().splitlines() if self._path.is_file() else []
        found = (json.loads(line) for line in lines)
        self._known = {(row["name"], *row["shares"].values()): row for row in found if row["of"] == self.identity}

    def run(self, name: str, mixture: Any, repetition: int = 0) -> dict[str, Any]:
        """Return the row of a run: shares, loss and cost."""
        name = f"{name}-{repetition + 1}" if repetition else name
        shares = {source: round(float(share), 6) for source, share in zip(self._sources, mixture, strict=True)}
        if (key := (name, *shares.values())) in self._known:
            return self._known[key]
        start = time.monotonic()
        folder = self._search.output / "proxy"
        result = train(self._training(shares, folder, repetition), SilentReporter(f"run {name}"), self._stop)
        assert result is not None, "one process"
        measured = result["validation"] | result["probe"]
        if self._search.target not in measured:
            raise ValueError(
                f"target {self._search.target!r} is not measured; there are {sorted(measured)}, where documents of the "
                "domain are held out"
            )
        row = {"of": self.identity, "name": name, "shares": shares, "loss": measured[self._search.target]}
        row |= {"num_tokens": result["num_tokens_seen"], "seconds": round(time.monotonic() - start, 2)}
        shutil.rmtree(folder)  # a checkpoint a mixture would fill a disk
        self._known[key] = row
        write_atomically(self._path, "".join(json.dumps(known) + "\n" for known in self._known.values()))
        self._reporter.log(f"run {name} of {self._search.num_runs}: {self._search.target} {row['loss']:.4f}")
        return row

    def _training(self, shares: Mapping[str, float], folder: Path, repetition: int) -> TrainingRun:
        return TrainingRun(
            packed=self._packed,
            tokenizer=self._search.tokenizer,
            output=folder,
            recipe=self._search.proxy(shares, repetition),
            lineage={},
            eval_texts=self._search.eval_texts,
        )
