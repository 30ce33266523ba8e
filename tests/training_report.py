"""Writes `docs/training_report.json` from what runs wrote, and the tables and the picture of the report from it.

    python -m tests.training_report FOLDER    collect the runs below FOLDER, then as without it
    python -m tests.training_report           write the page's tables and picture again

FOLDER has a folder for each model (`result.json`, `metrics.jsonl`, and the folder of each score), `small` and `cpu`
with the results of small models by corpus and seed (`s.CORPUS.SEED.json`), `large` with those of the size of A
(`CORPUS.SEED`, a folder each, scores inside), and `ledger.json`, `overlap.json`,
`options.json`, `teacher.json`, `generation.json`, `train_gpu.json`, `finetune.json`, `smoke.json`, `demo.json` and
`commands.json`.
"""

import json
import re
import sys
from pathlib import Path

from codeft_assets.base.markdown import table
from codeft_eval.scoring.samples import read_samples
from codeft_eval.scoring.scores import proportion
from tests.benchmarks.optimization_options import interval
from tests.walk import ROOT

REPORT, PAGE = ROOT / "docs/training_report.json", ROOT / "docs/training_report.md"
PICTURE = ROOT / "docs/pictures/training-run.png"
MODELS = {"A": "from scratch, 46M", "B": "from SmolLM2-135M-Instruct", "C": "as A, uncurated"}
SCORES = {
    "humaneval": "HumanEval",
    "humaneval20": "HumanEval, 20 samples at temperature 0.8",
    "mbpp": "MBPP, three examples",
    "composed": "composed exercises, held out",
    "composed_basic": "basic composed exercises, held out",
}
CORPORA = {
    "curated": "curated",
    "nodedup": "without deduplication",
    "nofilter": "without the quality filter",
    "nodecon": "without decontamination",
    "raw": "uncurated",
}
SIZES = {
    "cpu": "0.8M, 0.5M tokens, one CPU core",
    "small": "10.5M, 17.0M tokens, one H200",
    "large": "46M, 0.21 billion tokens, one H200",
}
AT_FULL_SIZE = {"curated": "A", "raw": "C"}
LARGE_SCORES = ("humaneval", "humaneval20", "composed")
FILES = ("ledger", "overlap", "options", "teacher", "generation", "train_gpu", "finetune", "smoke")
UNSEEN = "probe_bits_per_byte_unseen_code"
WAYS = {
    "graphs": "ours: CUDA graphs, 2,048 rows, greedy",
    "graphs_sampled": "ours, sampled",
    "batches": "transformers, in batches sorted by length",
    "continuous": "transformers, continuous batching",
    "static_loop": "static loop over `generate`, 64 rows",
}
CURVES = {
    "loss": "training loss, nats a token",
    "bits_per_byte": "held out, bits per byte",
    UNSEEN: "unseen code, bits per byte",
}


def collect(folder):
    """Return the whole report as JSON holds it."""
    commands = _read(folder / "commands.json")
    report = {name: _read(folder / f"{name}.json") for name in FILES}
    report |= {"models": {name: _model(folder / name) for name in MODELS}, "commands": commands}
    report["ablation"] = {size: _small(folder / size) for size in ("cpu", "small")}
    report["large"] = _large(folder)
    report["ablation"]["large"] = {
        corpus: {seed: run["unseen"] for seed, run in runs.items()} for corpus, runs in report["large"].items()
    }
    report["overlap"] = {name: _overlap(folder, report["overlap"], name) for name in MODELS}
    passed = {name: report["models"][name]["scores"]["humaneval"] for name in MODELS}
    report["humaneval_from_scratch"] = _percent(passed["A"]) | {"command": commands["A"]}
    report["humaneval_from_base"] = _percent(passed["B"]) | {"command": commands["B"]}
    gap = differences(report["ablation"]["small"])["raw"]
    report["curated_minus_uncurated_bits_per_byte"] = {
        "value": round(-gap["mean"], 5),
        "low": None if gap["high"] is None else round(-gap["high"], 5),
        "high": None if gap["low"] is None else round(-gap["low"], 5),
        "n": gap["n"],
        "of": "seeds of the model of 10.5M; at 46M the sign is the other one (see ablation)",
        "command": commands["small"],
    }
    demo = _read(folder / "demo.json")
    report["demo_composed_pass_rate"] = _percent(demo) | {"command": commands["demo"]}
    report["generation_tokens_per_second"] = {
        "value": round(report["generation"]["graphs"]["tokens_per_second"]),
        "low": None,
        "high": None,
        "n": report["generation"]["prompts"],
        "of": "prompts, greedy, the second of two runs; Qwen2.5-Coder-0.5B-Instruct on one H200",
        "command": commands["generation"],
    }
    return report


def _read(path):
    return json.loads(path.read_text())


def _percent(score):
    found = proportion(score["num_passed"], score["num_scored"])
    return {name: round(100 * getattr(found, name), 2) for name in ("value", "low", "high")} | {"n": found.n}


def _model(folder):
    result, lines = _read(folder / "result.json"), (folder / "metrics.jsonl").read_text().splitlines()
    kept = ("num_parameters", "num_tokens_seen", "num_tokens_in_corpus", "seconds", "stages", "environment", "kept")
    wanted = ("num_passed", "num_scored", "num_unscored", "num_samples", "metrics")
    scores = {name: _read(folder / name / "scores.json") for name in SCORES if (folder / name).is_dir()}
    curve = ("step", "loss", "bits_per_byte", UNSEEN, "tokens_per_second")
    return {
        **{name: result[name] for name in kept},
        "recipe": result["recipe"],
        "scores": {name: {key: score[key] for key in wanted} for name, score in scores.items()},
        "curve": [{name: row[name] for name in curve if name in row} for row in map(json.loads, lines)],
    }


def _small(folder):
    """Return corpus -> seed -> bits per byte of code that no source has."""
    found = {}
    for path in sorted(folder.glob("s.*.json")):
        _, corpus, seed, _ = path.name.split(".")
        found.setdefault(corpus, {})[seed] = _read(path)["probe"][UNSEEN]
    return found


def _large(folder):
    """Return corpus -> seed -> bits per byte of unseen code, and scores, of models of A's size."""
    runs = {(corpus, "1"): folder / model for corpus, model in AT_FULL_SIZE.items()}
    runs |= {tuple(path.name.split(".")): path for path in sorted((folder / "large").iterdir())}
    found = {}
    for (corpus, seed), path in runs.items():
        scores = {name: _read(path / name / "scores.json") for name in LARGE_SCORES}
        run = {"unseen": _read(path / "result.json")["probe"][UNSEEN]}
        run |= {name: {key: score[key] for key in ("num_passed", "num_scored")} for name, score in scores.items()}
        found.setdefault(corpus, {})[seed] = run
    return found


def _overlap(folder, shared, model):
    """Return, for each kind of exercise, the score on the items that share no 8-gram with it."""
    verdicts = {row["task_id"]: row["verdict"] == "passed" for row in read_samples(folder / model / "humaneval")}
    return {
        source: {"num_passed": sum(verdicts[item] for item in rest), "num_scored": len(rest)}
        for source, items in shared.items()
        if (rest := sorted(set(verdicts) - set(items)))
    }


def differences(seeds):
    """Return each corpus' bits per byte minus the curated one's, paired by seed."""
    base = seeds["curated"]
    return {
        corpus: interval([value - base[seed] for seed, value in found.items() if seed in base])
        for corpus, found in seeds.items()
        if corpus != "curated"
    }


def tables(report):
    """Return the tables of the page by name."""
    return {
        "scores": _scores(report),
        "overlap": _overlap_table(report),
        "corpus": _corpus(report),
        "stages": _stages(report),
        "ablation": _ablation(report),
        "seeds": _seeds(report),
        "teacher": _teacher(report),
        "options": _options(report),
        "demo": _demo(report),
        "generation": _generation(report),
        "training speed": _training_speed(report),
        "fine-tuning speed": _finetuning_speed(report),
    }


def _interval(metric):
    return f"{100 * metric['value']:.1f} % ({100 * metric['low']:.1f} to {100 * metric['high']:.1f})"


def _scores(report):
    rows = []
    for name, title in SCORES.items():
        found = [report["models"][model]["scores"].get(name) for model in MODELS]
        rows.append((title, *(_score(score) for score in found)))
    return table(("benchmark, pass@1", *(f"{model}: {title}" for model, title in MODELS.items())), rows)


def _score(score):
    if score is None:
        return "not run"
    several = f", pass@10 {_interval(score['metrics']['pass@10'])}" if "pass@10" in score["metrics"] else ""
    return f"{score['num_passed']:,} of {score['num_scored']:,}: {_interval(score['metrics']['pass@1'])}{several}"


def _overlap_table(report):
    found = report["overlap"]
    rows = [(source, *(_of(found[model][source]) for model in MODELS)) for source in found["A"]]
    return table(("HumanEval without items that share an 8-gram with", *MODELS), rows)


def _of(score):
    return f"{score['num_passed']} of {score['num_scored']}: {_percent(score)['value']:.1f} %"


def _corpus(report):
    columns = ("quality", "decontamination", "deduplication", "kept")
    rows = [
        (row["group"], sum(row[name] for name in columns), *(row[name] for name in columns)) for row in report["ledger"]
    ]
    total = ("all", *(sum(row[i] for row in rows) for i in range(1, 6)))
    cells = [(name, *(f"{number:,}" for number in numbers)) for name, *numbers in [*rows, total]]
    return table(("documents of", "in", *(f"dropped by {name}" for name in columns[:3]), "kept"), cells)


def _stages(report):
    rows = [
        (
            f"{model} {stage['name']}",
            f"{stage['num_steps']:,}",
            f"{stage['num_tokens'] / 1e6:.1f} M",
            f"{stage['start_rate']:.3g} → {stage['end_rate']:.3g}",
            ", ".join(
                f"{source} {tokens / stage['num_tokens']:.0%} ({stage['passes'][source]:.1f})"
                for source, tokens in sorted(stage["tokens_by_source"].items(), key=lambda item: -item[1])[:6]
            ),
        )
        for model in MODELS
        for stage in report["models"][model]["stages"]
    ]
    return table(("stage", "steps", "tokens", "learning rate", "most of it (passes so far)"), rows)


def _ablation(report):
    rows = []
    for corpus, title in CORPORA.items():
        cells = []
        for size in SIZES:
            found = report["ablation"][size].get(corpus, {})
            gap = differences(report["ablation"][size]).get(corpus)
            cells.append(_gap(found, gap))
        rows.append((title, *cells))
    return table(("corpus", *SIZES.values()), rows)


def _gap(found, gap):
    if not found:
        return "not run"
    mean = f"{sum(found.values()) / len(found):.4f}"
    if gap is None:
        return mean
    bounds = "one seed" if gap["low"] is None else f"{gap['low']:+.4f} to {gap['high']:+.4f}, {gap['n']} seeds"
    return f"{mean}: {gap['mean']:+.4f} ({bounds})"


def _seeds(report):
    names = ("unseen", *LARGE_SCORES)
    rows = [
        (CORPORA[corpus], *(", ".join(_figure(run[name]) for run in runs.values()) for name in names))
        for corpus, runs in report["large"].items()
    ]
    return table(("corpus", "unseen code, bits per byte", *(SCORES[name] for name in LARGE_SCORES)), rows)


def _figure(found):
    if isinstance(found, float):
        return f"{found:.3f}"
    return f"{found['num_passed']:,} of {found['num_scored']:,}"


def _teacher(report):
    found = report["teacher"]
    rows = [
        (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value) for name, value in found.items()
    ]
    return table(("exercises of the teacher", "number"), rows)


def _options(report):
    rows = [
        (name, f"{found['difference']['mean']:+.4f}", _bounds(found["difference"]))
        for name, found in report["options"]["variants"].items()
        if found.get("difference")
    ]
    return table(("option", "bits per byte, minus the baseline's", "95 % interval"), rows)


def _bounds(found):
    return "one seed" if found["low"] is None else f"{found['low']:+.4f} to {found['high']:+.4f} ({found['n']} seeds)"


def _demo(report):
    rows = [(row["changes"], f"{row['num_passed']} of {row['num_scored']}") for row in report["smoke"]]
    return table(("recipe smoke, changed", "basic composed exercises, held out"), rows)


def _generation(report):
    found = report["generation"]
    rows = [
        (
            title,
            f"{found[way]['tokens_per_second']:,.0f}",
            f"{found['graphs']['tokens_per_second'] / found[way]['tokens_per_second']:.1f}",
        )
        for way, title in WAYS.items()
    ]
    return table(("way", "tokens a second", "ours, greedy, is faster by"), rows)


def _training_speed(report):
    rows = [
        (title, *(f"{found[way]['tokens_per_second']:,} ({found[way]['tflops']:.0f})" for found in models))
        for models in [report["train_gpu"]["models"].values()]
        for way, title in {"ours": "ours", "options": "ours, with all options for repeated data"}.items()
    ]
    return table(
        ("loop, each layer compiled alone", *(f"{name}: tokens/s (TFLOP/s)" for name in report["train_gpu"]["models"])),
        rows,
    )


def _finetuning_speed(report):
    found = report["finetune"]
    titles = {"ours": "ours, documents kept apart, layers compiled", "ours_eager": "ours, documents kept apart"}
    titles |= {"trl": "TRL's SFTTrainer", "bare": "bare loop, fused AdamW"}
    rows = [
        (title, f"{found[way]['tokens_per_second']:,}", f"{found[way]['gpu_gib']:.1f}") for way, title in titles.items()
    ]
    return table(("loop", "tokens a second", "GiB of GPU memory"), rows)


def render(page, report):
    """Return the page with the tables of the report between their marks."""
    for name, text in tables(report).items():
        block = re.compile(rf"(<!-- table {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        page, found = block.subn(lambda match, text=text: f"{match[1]}{text.strip()}{match[2]}", page)
        assert found == 1, f"{PAGE.name} must have `<!-- table {name} -->` once, and `<!-- end -->` below"
    return page


def draw(report):
    """Write the picture of the curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, model in zip(figure.subplots(1, 3), MODELS, strict=True):
        curve = report["models"][model]["curve"]
        for name, title in CURVES.items():
            points = [(row["step"], row[name]) for row in curve if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), marker="." if len(points) < 12 else None, label=title)
        axes.set(title=f"{model}: {MODELS[model]}", xlabel="step", ylim=(0, 5))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(PICTURE, dpi=110)


def main(arguments):
    if arguments:
        REPORT.write_text(json.dumps(collect(Path(arguments[0])), indent=1) + "\n")
    report = _read(REPORT)
    PAGE.write_text(render(PAGE.read_text(), report))
    draw(report)


if __name__ == "__main__":
    main(sys.argv[1:])
