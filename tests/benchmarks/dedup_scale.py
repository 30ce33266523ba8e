"""Deduplication of many documents: band keys alone, all stages from 1 to 30 million, and one changed source.

    python tests/benchmarks/dedup_scale.py [--millions 1 3 10 30] [--output F] [--json]

``bands``: 14 keys a document, one in five documents linked to an earlier one, as in the prototype that took 15.8 CPU
seconds and 967 MB for 10 million. ``stage``: documents, scores and matches as tables on disk, then what
dedup/signatures, dedup/clusters, corpus/mixture_plan and corpus/ledger run; a quarter of the documents are duplicates.
``changed``: installed packages as eight sources; a tenth of one source's documents is edited, then both assets of dedup
run again, and anew from nothing.

Figures: docs/measured/dedup_scale.json, discussed in docs/from_a_laptop_to_a_cluster.md. Each stage of clustering
and planning is measured apart; its units run one after another in one process, or in ``CODEFT_SCALE_WORKERS`` of them.

Every measurement is a process of its own: CPU seconds of it and its children, and its largest resident size.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from codeft_assets.curation.corpus.mixture import Mixture
from codeft_assets.curation.dedup.candidates import candidate_pairs
from codeft_assets.curation.dedup.deduplicate import DedupParams
from codeft_assets.curation.documents import content_hash
from codeft_assets.curation.kernels.buckets import choose_representatives
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.corpus import decide_outcomes, ledger_stage, ledger_units
from codeft_assets.stages.dedup import DedupTables, clustering_steps, sign_documents, signatures_stage
from codeft_assets.stages.participants import ClusterInputs
from codeft_assets.stages.plan import Deduplicated, PlanTables, planning_steps
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import ShardResult, Stage, Unit, map_shards, table_units
from codeft_assets.store.executors import in_process, process_pool

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.dedup import installed_files

NUM_SOURCES = 8
SOURCES = tuple(f"source-{number}" for number in range(NUM_SOURCES))
PRIORITIES = {name: number for number, name in enumerate(SOURCES)}
ROWS_PER_SHARD = 20_000  # what ingest writes
WORDS_PER_DOCUMENT = 12
NUM_REPEATS = 7  # of what takes a second or less
PARAMS = DedupParams()
WORKERS = "CODEFT_SCALE_WORKERS"


def cpu_seconds():
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_megabytes():
    usages = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(usages) * 1024 / 1e6


def run_units(function, units, output, *, stage):
    workers = int(os.environ.get(WORKERS, "1"))
    executor = partial(process_pool, workers) if workers > 1 else in_process
    run = map_shards(function, units, output, stage=stage, executor=executor)
    for process in multiprocessing.active_children():
        process.join()  # what it took is counted then
    return run


# -- band keys alone ---------------------------------------------------------------------------------------------------


def write_band_keys(folder, num_documents):
    """One document in five shares each band with an earlier one with probability 0.6."""
    rng = np.random.default_rng(1)
    linked = np.flatnonzero(rng.random(num_documents) < 0.2)[1:]
    target = (rng.random(len(linked)) * linked).astype(np.int64)
    for band in range(PARAMS.minhash.num_bands):
        keys = rng.integers(0, 2**64, num_documents, dtype=np.uint64)
        shared = rng.random(len(linked)) < 0.6
        keys[linked[shared]] = keys[target[shared]]
        np.save(folder / f"band_{band}.npy", keys)


def cluster_band_keys(folder, num_documents):
    def band_keys(band):
        return np.load(folder / f"band_{band}.npy")

    later, earlier = candidate_pairs(np.arange(num_documents), band_keys, PARAMS.minhash.num_bands)
    representative = choose_representatives(num_documents, later, earlier, np.ones(len(later), dtype=np.bool_))
    return {"pairs": len(later), "removed": int((representative != -1).sum())}


# -- the whole stage ---------------------------------------------------------------------------------------------------


def hex_of(high, low):
    """Return 16 bytes of two numbers each, and the same in hex digits."""
    pairs = np.stack([high, low], axis=1)
    raw = pl.Series(pa.Array.from_buffers(pa.binary(16), len(pairs), [None, pa.py_buffer(pairs)]).cast(pa.binary()))
    return raw, raw.bin.encode("hex")


def synthetic_texts(seed, num_rows):
    """In each ten documents one is equal to the first and two are the first and a word more; forty are everywhere."""
    words = np.random.default_rng(seed).integers(0, 10**6, (num_rows, WORDS_PER_DOCUMENT))
    words[:40] = np.random.default_rng(0).integers(0, 10**6, (min(num_rows, 40), WORDS_PER_DOCUMENT))
    place = np.arange(num_rows)
    copied = np.isin(place % 10, (3, 5, 7))
    words[copied] = words[place[copied] // 10 * 10]
    text = pl.DataFrame(words).select(pl.concat_str(pl.all(), separator=" w")).to_series()
    return text + pl.Series(np.where(np.isin(place % 10, (3, 7)), " more", ""))


def write_synthetic(seed, num_rows, source):
    text = synthetic_texts(seed, num_rows)
    ids = np.random.default_rng(seed + 10**6).integers(0, 2**64, (2, num_rows), dtype=np.uint64)
    rows = pl.DataFrame(
        {
            "document_id": hex_of(*ids)[1],
            "source": [source] * num_rows,
            "source_row": pl.int_range(num_rows, eager=True).cast(pl.String),
            "domain": ["code"] * num_rows,
            "format": ["textbook" if seed % 2 else "raw"] * num_rows,
            "language": ["text"] * num_rows,
            "num_chars": text.str.len_chars(),
            "content_hash": hex_of(text.hash(seed=1).to_numpy(), text.hash(seed=2).to_numpy())[0],
            "text": text,
        }
    )
    yield ShardResult(rows=rows.to_arrow(), report=StageReport(num_in=num_rows, num_out=num_rows))


def score_all(table, shard):
    ids = table.read_shard(shard, ["document_id"])
    rows = pl.DataFrame(ids).with_columns(
        drop_reason=pl.lit(None, dtype=pl.String),
        drop_detail=pl.lit(""),
        educational_value=(pl.col("document_id").str.head(4).str.to_integer(base=16) / 2**16).cast(pl.Float32),
    )
    yield ShardResult(rows=rows.to_arrow(), report=StageReport(num_in=rows.height, num_out=rows.height))


def no_matches(table, shard):
    columns = {name: pa.array([], pa.string()) for name in ("document_id", "benchmark", "task_id", "field")}
    rows = pa.table(columns | {"overlap": pa.array([], pa.float32())})
    yield ShardResult(rows=rows, report=StageReport(num_in=0, num_out=0))


def write_tables(store, units_of_source):
    """Write documents of ``units_of_source``, with a score each and no match."""
    tables = [store.table(f"documents/{name}") for name in SOURCES]
    for table, (function, units) in zip(tables, units_of_source, strict=True):
        run_units(function, units, table, stage=Stage(name="documents", code_version="1"))
    scored = Stage(name="quality/scores", code_version="1")
    run_units(score_all, table_units(tables), store.table("quality/scores"), stage=scored)
    matched = Stage(name="decontamination/matches", code_version="1")
    run_units(no_matches, table_units(tables), store.table("decontamination/matches"), stage=matched)


def write_synthetic_tables(folder, num_documents):
    units_of_source = []
    for number, name in enumerate(SOURCES):
        num_rows = num_documents // NUM_SOURCES
        sizes = [min(ROWS_PER_SHARD, num_rows - first) for first in range(0, num_rows, ROWS_PER_SHARD)]
        units = [
            Unit(name=f"{name}/{part}", fingerprint=f"{part}", args=(1 + number * 10**4 + part, size, name))
            for part, size in enumerate(sizes)
        ]
        units_of_source.append((write_synthetic, units))
    write_tables(Store(str(folder)), units_of_source)


def sign(folder):
    store = Store(str(folder))
    units = table_units([store.table(f"documents/{name}") for name in SOURCES], PARAMS.minhash)
    return run_units(sign_documents, units, store.table("dedup/signatures"), stage=signatures_stage(PARAMS.minhash))


STEPS = ("participants", "links", "components", "candidates", "clusters")
PLANNING = ("relatives", "drawn", "cuts", "mixture_plan")


def inputs_of(store):
    return ClusterInputs(
        documents=[store.table(f"documents/{name}") for name in SOURCES],
        signatures=store.table("dedup/signatures"),
        scores=store.table("quality/scores"),
        matches=store.table("decontamination/matches"),
    )


def cluster(folder, last=STEPS[-1], params=PARAMS):
    """Run the stages of clustering up to ``last``; what is committed is not run again."""
    store = Store(str(folder))
    return run_steps(clustering_steps(inputs_of(store), DedupTables.of(store), params, PRIORITIES), last)


def run_steps(steps, last):
    num_run = 0
    for step in steps:
        run = run_units(step.function, step.units, step.output, stage=step.stage)
        num_run += run.num_run
        if step.output.key.endswith(f"/{last}"):
            break
    return replace(run, num_run=num_run)


def plan(folder, last):
    """Run the stages of planning up to ``last``: half of the tokens, a fifth of these last."""
    store = Store(str(folder))
    documents = Deduplicated(inputs=inputs_of(store), tables=DedupTables.of(store))
    num_tokens = store.table("dedup/signatures").manifest().num_rows * 15
    mixture = Mixture(token_budget=num_tokens // 2, annealing_share=0.2)
    weights = {name: 1.0 + number for number, name in enumerate(SOURCES)}
    return run_steps(planning_steps(documents, PlanTables.of(store), mixture, weights), last)


def write_ledger(folder):
    store = Store(str(folder))
    documents = Deduplicated(inputs=inputs_of(store), tables=DedupTables.of(store))
    units = ledger_units(documents, PlanTables.of(store))
    return run_units(decide_outcomes, units, store.table("corpus/ledger"), stage=ledger_stage())


def run_stage(folder, part, max_keys):
    params = DedupParams(max_keys=max_keys)
    runs = {"sign": lambda: sign(folder), "ledger": lambda: write_ledger(folder)}
    runs |= {name: lambda: cluster(folder, part, params) for name in STEPS}
    runs |= {name: lambda: plan(folder, part) for name in PLANNING}
    done = runs[part]()
    manifest = done.manifest
    return {"units": done.num_run, "dropped": dict(manifest.report.dropped), "hash": manifest.content_hash}


# -- one changed source ------------------------------------------------------------------------------------------------


def write_files(number, texts, source):
    frame = pl.DataFrame(
        {
            "document_id": [content_hash(f"{source} {place}").hex() for place in range(len(texts))],
            "source": [source] * len(texts),
            "language": ["python"] * len(texts),
            "num_chars": [len(text) for text in texts],
            "content_hash": [content_hash(text) for text in texts],
            "text": texts,
        }
    )
    yield ShardResult(rows=frame.to_arrow(), report=StageReport(num_in=frame.height, num_out=frame.height))


def write_file_tables(folder, num_bytes, version):
    """Deal installed files to eight sources, each with copies of another's; ``version`` 1 edits a tenth of one."""
    texts = installed_files(num_bytes)
    parts = [texts[number::NUM_SOURCES] for number in range(NUM_SOURCES)]
    parts = [part + [text.replace("self", "this", 3) for text in parts[n - 1][::10]] for n, part in enumerate(parts)]
    if version:
        chosen = set(random.Random(1).sample(range(len(parts[3])), len(parts[3]) // 10))
        parts[3] = [f"{text}\n# one more line" if i in chosen else text for i, text in enumerate(parts[3])]
    units_of_source = [
        (write_files, [Unit(name=name, fingerprint=str(version * (number == 3)), args=(number, part, name))])
        for number, (name, part) in enumerate(zip(SOURCES, parts, strict=True))
    ]
    write_tables(Store(str(folder)), units_of_source)


def load_kernels():
    """Let numba read its compiled kernels: what a process pays once is not what a document costs."""
    with tempfile.TemporaryDirectory() as folder:
        write_file_tables(Path(folder), 10**6, 0)
        sign(folder), cluster(folder)


def run_both(folder):
    """Sign and cluster a few times, each in a copy of the tables, and take the fastest."""
    load_kernels()
    seconds = []
    for number in range(NUM_REPEATS):
        copy = folder.with_name(f"{folder.name}-copy-{number}")
        shutil.copytree(folder, copy)
        start = cpu_seconds()
        signed, clustered = sign(copy), cluster(copy)
        seconds.append(cpu_seconds() - start)
        last = copy if number == NUM_REPEATS - 1 else shutil.rmtree(copy)
    shutil.rmtree(folder)
    last.rename(folder)
    return {
        "cpu": min(seconds),
        "signed": signed.num_run,
        "hash": clustered.manifest.content_hash,
        "dropped": dict(clustered.manifest.report.dropped),
    }


# -- processes ---------------------------------------------------------------------------------------------------------


TASKS = {
    "write_band_keys": write_band_keys,
    "cluster_band_keys": cluster_band_keys,
    "write_synthetic_tables": write_synthetic_tables,
    "write_file_tables": write_file_tables,
    "run_stage": run_stage,
    "run_both": run_both,
}


def in_a_process_of_its_own(task, folder, *arguments):
    """Run a task and return what it returns, its CPU seconds and its peak memory in MB."""
    command = [sys.executable, __file__, "--task", json.dumps([task, str(folder), *arguments])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{task} {arguments} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_task(task, folder, *arguments):
    start = cpu_seconds()
    found = TASKS[task](Path(folder), *arguments)
    cost = {"seconds": round(cpu_seconds() - start, 2), "peak_mb": round(peak_megabytes())}
    print(json.dumps(cost | (found or {})))


def measure_bands(num_documents):
    with tempfile.TemporaryDirectory() as folder:
        in_a_process_of_its_own("write_band_keys", folder, num_documents)
        in_a_process_of_its_own("cluster_band_keys", folder, num_documents)  # compiles, fills the page cache
        return in_a_process_of_its_own("cluster_band_keys", folder, num_documents)


def measure_stage(num_documents, max_keys):
    with tempfile.TemporaryDirectory() as folder:
        in_a_process_of_its_own("write_synthetic_tables", folder, num_documents)
        parts = ("sign", *STEPS, *PLANNING, "ledger")
        return {part: in_a_process_of_its_own("run_stage", folder, part, max_keys) for part in parts}


def measure_change(num_bytes):
    with tempfile.TemporaryDirectory() as root:
        folder, anew = f"{root}/changed", f"{root}/anew"
        in_a_process_of_its_own("write_file_tables", folder, num_bytes, 0)
        first = in_a_process_of_its_own("run_both", folder)
        in_a_process_of_its_own("write_file_tables", folder, num_bytes, 1)
        in_a_process_of_its_own("write_file_tables", anew, num_bytes, 1)
        changed, full = in_a_process_of_its_own("run_both", folder), in_a_process_of_its_own("run_both", anew)
    assert first["hash"] != full["hash"], "the edit changed nothing"
    return {
        "full_seconds": round(full["cpu"], 2),
        "changed_seconds": round(changed["cpu"], 2),
        "ratio": round(full["cpu"] / changed["cpu"], 2),
        "shards_signed": changed["signed"],
        "identical": changed["hash"] == full["hash"],
        "dropped": full["dropped"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 3, 10, 30])
    parser.add_argument(
        "--megabytes", type=float, default=240, help="of installed files, for one changed source; 0: none"
    )
    parser.add_argument("--max-keys", type=int, default=PARAMS.max_keys, help="memory of a unit: DedupParams.max_keys")
    parser.add_argument("--no-bands", action="store_true", help="leave out the band keys alone")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--output", help="file for the figures")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        run_task(*json.loads(options.task))
        return
    found = {"max_keys": options.max_keys, "bands": {}, "stage": {}}
    if options.megabytes:
        found["changed"] = measure_change(int(options.megabytes * 1e6))
        print(f"one of {NUM_SOURCES} sources changed by a tenth: {found['changed']}")
    for size in (int(millions * 10**6) for millions in options.millions):
        found["bands"] |= {} if options.no_bands else {size: measure_bands(size)}
        costs = found["stage"][size] = measure_stage(size, options.max_keys)
        found["load"] = os.getloadavg()[0]
        shown = ", ".join(f"{name} {cost['seconds']} CPU-s {cost['peak_mb']} MB" for name, cost in costs.items())
        print(f"{size:,}: {shown}", flush=True)
        if options.output:
            Path(options.output).write_text(json.dumps(found, indent=1) + "\n")
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
