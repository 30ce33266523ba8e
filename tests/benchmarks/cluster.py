"""Deduplication of a real corpus by the pool of processes and on Ray: equal hashes, CPU, memory, faults, one change.

    python tests/benchmarks/cluster.py --folders /usr/lib/python3 … [--megabytes 500] [--output F] [--json]

The corpus are the text files of installed packages below ``--folders``, dealt to eight sources in units of eight
megabytes. A run is dedup/signatures and the five stages of dedup/clusters, by a pool of two processes, and on clusters
of one and of two raylets of one CPU. CPU is that of all processes that a run started, workers' imports included, and
without the start of the raylets, which is told apart: a cluster is there before the stage.

- ``overhead``: units that do nothing but compute for a second, by pool and on Ray.
- ``faults``, on the signatures: a worker killed in its unit, a driver killed in its, a unit that hangs, a node removed;
  ``redone`` are the units that were begun more than once.
- ``change``: a tenth of one source's documents is edited; the cost of what follows, and of all of it anew.

Needs the extra ``cluster``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

from codeft_assets.curation.report import StageReport
from codeft_assets.stages.dedup import DedupTables, clustering_steps, sign_documents
from codeft_assets.stages.participants import ClusterInputs
from codeft_assets.store import ray_executor
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import ShardResult, Stage, Unit, map_shards, table_units
from codeft_assets.store.executors import find_executor

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.cluster_corpus import list_files, write_corpus
from tests.benchmarks.cluster_faults import FAULTS, SIGN, meet
from tests.benchmarks.dedup_scale import PARAMS, PRIORITIES, SOURCES

ROOT = Path(__file__).parents[2]
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
CHANGED = SOURCES[3]
SPINNING, SPIN_SECONDS = 12, 1.0
TICKS = os.sysconf("SC_CLK_TCK")


# -- what is measured --------------------------------------------------------------------------------------------------


def processes():
    """Return the parent, the CPU seconds with those of ended children, and the peak megabytes of every process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            peak = [line.split()[1] for line in (folder / "status").read_text().splitlines() if "VmHWM" in line]
        except OSError:
            continue
        cpu = sum(map(int, fields[11:15])) / TICKS
        found[int(folder.name)] = (int(fields[1]), cpu, int(peak[0]) * 1024 / 1e6 if peak else 0.0)
    return found


def usage():
    """Return the CPU seconds of this process and its descendants, and the peak megabytes of the largest of these."""
    known = processes()
    family, size = {os.getpid()}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, (parent, *_) in known.items() if parent in family}
    return sum(known[pid][1] for pid in family), max((known[pid][2] for pid in family - {os.getpid()}), default=0.0)


def measured(run):
    """Return what ``run`` returns, with its CPU seconds, its seconds and the largest process so far."""
    (cpu, _), start = usage(), time.monotonic()
    found = run()
    used, peak = usage()
    return found | {"cpu": used - cpu, "seconds": time.monotonic() - start, "peak_mb": peak}


def deduplicate(root, name, executor):
    """Return the content hashes of a corpus's signatures and clusters, written to ``name``, and the units run."""
    store, out = Store(root), Store(name)
    tables, signatures = [store.table(f"documents/{source}") for source in SOURCES], out.table("dedup/signatures")
    units, how = table_units(tables, PARAMS.minhash), {"executor": find_executor(executor, 2)}
    signed = map_shards(sign_documents, units, signatures, stage=SIGN, **how)
    inputs = ClusterInputs(
        documents=tables,
        signatures=signatures,
        scores=store.table("quality/scores"),
        matches=store.table("decontamination/matches"),
    )
    steps = clustering_steps(inputs, DedupTables.of(out), PARAMS, PRIORITIES)
    runs = [signed, *(map_shards(step.function, step.units, step.output, stage=step.stage, **how) for step in steps)]
    hashes = [run.manifest.content_hash for run in (runs[0], runs[-1])]
    return {"hash": " ".join(hashes), "run": [run.num_run for run in runs], "dropped": runs[-1].manifest.report.dropped}


def spin():
    end = time.process_time() + SPIN_SECONDS
    while time.process_time() < end:
        pass
    yield ShardResult(rows=pa.table({"seconds": [SPIN_SECONDS]}), report=StageReport(num_in=1, num_out=1))


def spin_all(root, executor):
    """Return nothing: what many units of a second cost."""
    units = [Unit(name=f"{n}", fingerprint=f"{n}", args=()) for n in range(SPINNING)]
    table = Store(f"{root}-spin-{executor}").table("spun")
    map_shards(spin, units, table, stage=Stage(name="spin", code_version="1"), executor=find_executor(executor, 2))
    return {}


# -- clusters ----------------------------------------------------------------------------------------------------------


def start_cluster(num_nodes):
    os.environ["RAY_raylet_start_wait_time_s"] = "180"  # noqa: SIM112  Ray's spelling
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False})
    for _ in range(num_nodes):
        cluster.add_node(**NODE)
    os.environ["RAY_ADDRESS"] = cluster.address
    return cluster


def on_ray(root, num_nodes):
    """Return the costs of a run on so many nodes of one CPU; on two, also those of faults and of a change."""
    begin = usage()[0]
    cluster = start_cluster(int(num_nodes))
    started = usage()[0] - begin
    found = measured(partial(deduplicate, root, f"{root}-ray{num_nodes}", "ray")) | {"start_cpu": started}
    if num_nodes == "2":
        found["change"] = {
            "changed": measured(partial(deduplicate, f"{root}-edited", f"{root}-ray2", "ray")),
            "anew": measured(partial(deduplicate, f"{root}-edited", f"{root}-anew", "ray")),
        }
        found["overhead"] = measured(partial(spin_all, root, "ray"))
        ray_executor.SLOW_SECONDS = 5
        wanted = found["hash"].split()[0]
        found["faults"] = [meet(cluster, root, what, fault, wanted) for what, fault in FAULTS.items()]
    return found


def by_pool(root):
    return measured(partial(deduplicate, root, f"{root}-pool", "processes")) | {
        "overhead": measured(partial(spin_all, root, "processes"))
    }


def summary(megabytes, pool, one, two):
    change, spun = two["change"], two.pop("overhead")
    return {
        "megabytes": round(megabytes),
        "pool": pool,
        "ray_1_node": one,
        "ray_2_nodes": two,
        "unit_of_a_second": {"pool_cpu": pool["overhead"]["cpu"], "ray_cpu": spun["cpu"], "units": SPINNING},
        "wall_ratio_of_2_nodes_to_1": round(two["seconds"] / one["seconds"], 2),
        "change_identical": change["changed"]["hash"] == change["anew"]["hash"],
        "change_cost": round(change["changed"]["cpu"] / change["anew"]["cpu"], 3),
        "load": os.getloadavg()[0],
        "equal_hash": one["hash"] == two["hash"] == pool["hash"],
        "cpu_ratio_to_pool": round(two["cpu"] / pool["cpu"], 2),
        "faults": len(two["faults"]),
        "recovered": (recovered := sum(fault["hash_equal"] for fault in two["faults"])),
        "lost": len(two["faults"]) - recovered,
        "peak_mb_per_process": round(max(one["peak_mb"], two["peak_mb"])),
    }


def in_a_process_of_its_own(*arguments):
    done = subprocess.run(
        [sys.executable, __file__, "--measure", *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    (found,) = [line for line in done.stdout.decode().splitlines() if line.startswith("{")]  # Ray prints, too
    print(f"{arguments[0]}: {found}", file=sys.stderr)
    return json.loads(found)


MEASURES = {"pool": by_pool, "one": partial(on_ray, num_nodes="1"), "two": partial(on_ray, num_nodes="2")}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--folders", nargs="+", default=[str(Path(pa.__file__).parents[1])])
    options.add_argument("--megabytes", type=int, default=500)
    options.add_argument("--output", help="file for the figures")
    options.add_argument("--json", action="store_true")
    options.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.measure:
        name, root = options.measure
        print(json.dumps(MEASURES[name](root)))
        return
    if find_spec("ray") is None:
        print("left out: the extra `cluster` is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        files, num_bytes = list_files(options.folders, options.megabytes * 10**6)
        root = f"{folder}/corpus"
        write_corpus(root, files)
        write_corpus(f"{root}-edited", files, edited=(CHANGED,))
        found = summary(num_bytes / 1e6, *(in_a_process_of_its_own(name, root) for name in MEASURES))
    if options.output:
        Path(options.output).write_text(json.dumps(found, indent=1) + "\n")
    print(f"{found['faults']} faults, {found['recovered']} recovered, {found['lost']} lost", file=sys.stderr)
    print(json.dumps(found) if options.json else "\n".join(f"{key}: {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
