"""What text costs in each stage of the corpus: CPU seconds, bytes on disk, peak memory, at two sizes.

    python tests/benchmarks/unit_costs.py [--megabytes 20 80] [--output docs/measured/unit_costs.json]

The embedded samples and, as a source of one's own, documents of 2 kB of the Python files installed here. Each asset
runs in a process of its own, on one core, whose CPU time and peak memory the kernel reports; the imports are those of
the process that starts it and are not counted. ``docs/internet_scale.md`` is computed from the output: what grows
between the sizes is the cost of a byte, the rest is paid once.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.corpus_scale import documents

NUM_FILES = 4
OWN = "documents/installed"


def write_source(folder, megabytes):
    texts = list(documents(megabytes * 1_000_000))
    for number in range(NUM_FILES):
        lines = (json.dumps({"text": text}) + "\n" for text in texts[number::NUM_FILES])
        (folder / f"{number}.jsonl").write_text("".join(lines))
    entry = f'[[source]]\nname = "installed"\npath = "{folder}"\nformat = "raw"\ndomain = "code"\n'
    (folder / "sources.toml").write_text(entry)


def cost_of(keys):
    """Return CPU seconds and peak megabytes of materializing assets in a child process."""
    child = os.fork()
    if child == 0:
        try:
            materialize(keys)
        except Exception as error:  # noqa: BLE001  the parent tells which asset it was
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    assert status == 0, f"{keys} failed"
    return {"cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2), "peak_megabytes": round(usage.ru_maxrss / 1024)}


def materialize(keys):
    import dagster as dg

    from codeft_assets.definitions import defs

    selection = {dg.AssetKey(key.split("/")) for key in keys}
    job = defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=selection, asset_check_selection=set()
    )
    with dg.DagsterInstance.ephemeral() as instance:
        job.execute_in_process(instance=instance)


def corpus_keys():
    """Return the keys of the stages down to the corpus, each after those that it reads."""
    from codeft_assets.definitions import CORPUS, defs

    graph = defs.resolve_asset_graph()
    wanted = CORPUS.resolve(graph)
    ordered = [key for key in graph.toposorted_asset_keys if key in wanted and key in graph.materializable_asset_keys]
    return ["/".join(key.path) for key in ordered if "taught" not in key.path]


def measured(root):
    keys = corpus_keys()
    sources = [key for key in keys if key.startswith("documents/")]
    cost_of([key for key in sources if key != OWN])
    stages = {}
    for key in (OWN, *(key for key in keys if key not in sources)):
        before = bytes_below(root)
        stages[key] = cost_of([key])
        stages[key]["written_bytes"] = bytes_below(root) - before
    texts = text_sizes(root)  # last: a process that has polars' threads must not fork
    return {
        "text_bytes": sum(size for size, _ in texts.values()),
        "num_documents": sum(number for _, number in texts.values()),
        "stages": stages,
    }


def bytes_below(root):
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def text_sizes(root):
    import polars as pl

    from codeft_assets.store.data_root import Store

    tables = [table for table in Store(str(root)).tables() if table.key.startswith("documents/")]
    counts = (pl.col("text").str.len_bytes().sum(), pl.len().alias("n"))
    return {table.key: table.scan().select(*counts).collect().row(0) for table in tables}


def measure_size(megabytes):
    with tempfile.TemporaryDirectory() as folder:
        root, mine = Path(folder) / "home", Path(folder) / "mine"
        mine.mkdir()
        write_source(mine, megabytes)
        os.environ |= {"CODEFT_HOME": str(root), "CODEFT_SOURCES": str(mine / "sources.toml")}
        os.environ |= {"CODEFT_PROFILE": "sample", "CODEFT_EXECUTOR": "local", "POLARS_MAX_THREADS": "1"}
        import codeft_assets.definitions  # noqa: F401  before the processes that are measured

        return measured(root)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs=2, default=[20, 80])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    sizes = []
    for megabytes in options.megabytes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # the environment is read once
            sizes.append(pool.apply(measure_size, (megabytes,)))
    command = f"tests/benchmarks/unit_costs.py --megabytes {' '.join(map(str, options.megabytes))}"
    text = json.dumps({"command": command, "sizes": sizes}, indent=1) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
