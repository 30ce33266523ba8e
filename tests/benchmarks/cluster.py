"""A stage on Ray beside the pool of processes: equal hashes, CPU, memory, and what a lost worker and node cost.

    PYTHONPATH=. python tests/benchmarks/cluster.py [--megabytes 20] [--json]

The stage is dedup/signatures over the source files of installed packages, in units of two megabytes; the pool has two
processes, the cluster two raylets of one CPU. CPU is that of all processes that a run started, workers' imports
included, and without the start of the raylets, which is told apart: a cluster is there before the stage. The faults:
a worker killed in its unit, a node removed in its, the driver killed in its. ``recovered`` counts those whose next
table has the content hash of the pool's. Needs the extra ``cluster``.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from codeft_assets.curation.dedup.deduplicate import DedupParams
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.dedup import sign_documents, signatures_stage
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import ShardResult, Stage, Unit, map_shards, table_units
from codeft_assets.store.executors import find_executor
from tests.benchmarks.dedup import installed_files

ROOT = Path(__file__).parents[2]
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
BYTES_PER_UNIT = 2 * 2**20
STAGE = signatures_stage(DedupParams().minhash)
TICKS = os.sysconf("SC_CLK_TCK")


def write_documents(texts):
    text = pl.Series(texts)
    rows = pl.DataFrame(
        {
            "document_id": text.hash(seed=1).cast(pl.String),
            "source": ["installed"] * len(texts),
            "language": ["python"] * len(texts),
            "num_chars": text.str.len_chars(),
            "content_hash": text.hash(seed=2).cast(pl.String).cast(pl.Binary),
            "text": text,
        }
    )
    yield ShardResult(rows=rows.to_arrow(), report=StageReport(num_in=rows.height, num_out=rows.height))


def sign(fault, table, shard, *args):
    """Sign the documents of a shard; the first process at the shard of the fault waits to be killed."""
    marker, path = fault
    if shard.path == path and first_at(marker):
        import ray

        Path(f"{marker}.where").write_text(f"{os.getpid()} {ray.get_runtime_context().get_node_id()}")
        signal.pause()
    yield from sign_documents(table, shard, *args)


def first_at(marker):
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def await_victim(marker):
    """Return the process and the node that wait to be killed."""
    while len(where := Path(f"{marker}.where").read_text().split() if Path(f"{marker}.where").exists() else []) < 2:
        time.sleep(0.1)
    return int(where[0]), where[1]


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


def run_stage(root, name, executor, fault=("", "")):
    units = table_units([Store(root).table("documents/installed")], DedupParams().minhash)
    function = partial(sign, fault) if fault[0] else sign_documents
    table = Store(root).table(f"signatures/{name}")
    return map_shards(function, units, table, stage=STAGE, executor=find_executor(executor, 2)).manifest.content_hash


def measure(root, name, executor):
    (cpu, _), start = usage(), time.monotonic()
    content_hash = run_stage(root, name, executor)
    used, peak = usage()
    return {"hash": content_hash, "cpu": used - cpu, "seconds": time.monotonic() - start, "peak_mb": peak}


def kill_worker(cluster, marker, run):
    with ThreadPoolExecutor(1) as other:
        killed = other.submit(lambda: os.kill(await_victim(marker)[0], signal.SIGKILL))
        content_hash = run()
    killed.result()
    return content_hash


def remove_node(cluster, marker, run):
    def remove():
        _, node_id = await_victim(marker)
        (node,) = [node for node in cluster.worker_nodes if node.node_id == node_id]
        cluster.remove_node(node, allow_graceful=False)

    with ThreadPoolExecutor(1) as other:
        removed = other.submit(remove)
        content_hash = run()
    removed.result()
    return content_hash


def kill_driver(cluster, marker, run):
    folder, name = Path(marker).parent, Path(marker).name
    driver = subprocess.Popen([sys.executable, __file__, "--driver", str(folder), name], cwd=ROOT)
    await_victim(marker)
    driver.kill()
    driver.wait()
    return run()


FAULTS = {"worker": kill_worker, "driver": kill_driver, "node": remove_node}
"""The node last: it does not come back."""


def fault_of(root, name):
    shards = Store(root).table("documents/installed").manifest().shards
    return f"{root}/{name}", shards[len(shards) // 2].path


def on_ray(root):
    """Return the stage's costs on two raylets of one CPU, and the content hash after each fault."""
    os.environ["RAY_raylet_start_wait_time_s"] = "180"  # noqa: SIM112  Ray's spelling
    import ray
    from ray.cluster_utils import Cluster

    begin = usage()[0]
    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(**NODE)
    os.environ["RAY_ADDRESS"] = cluster.address
    started = usage()[0]
    found = measure(root, "ray", "ray") | {"start_cpu": started - begin, "after": {}}
    for name, fault in FAULTS.items():
        run = partial(run_stage, root, name, "ray", fault_of(root, name))
        found["after"][name] = fault(cluster, f"{root}/{name}", run)
    ray.shutdown()
    cluster.shutdown()
    return found


def summary(pool, ray, megabytes):
    return {
        "megabytes": megabytes,
        "pool": pool,
        "ray": ray,
        "equal_hash": ray["hash"] == pool["hash"],
        "cpu_ratio_to_pool": round(ray["cpu"] / pool["cpu"], 2),
        "faults": len(ray["after"]),
        "recovered": sum(found == pool["hash"] for found in ray["after"].values()),
        "peak_mb_per_process": round(ray["peak_mb"]),
    }


def in_a_process_of_its_own(*arguments):
    done = subprocess.run([sys.executable, __file__, *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--megabytes", type=int, default=20)
    options.add_argument("--json", action="store_true")
    options.add_argument("--driver", nargs=2, help=argparse.SUPPRESS)
    options.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.driver:
        root, name = options.driver
        run_stage(root, name, "ray", fault_of(root, name))
        return
    if options.measure:
        executor, root = options.measure
        print(json.dumps(on_ray(root) if executor == "ray" else measure(root, executor, executor)))
        return
    if find_spec("ray") is None:
        print("left out: the extra `cluster` is not installed")
        return
    with tempfile.TemporaryDirectory() as root:
        texts = installed_files(options.megabytes * 2**20)
        size = len(texts) * BYTES_PER_UNIT // (options.megabytes * 2**20)
        parts = [(n, texts[n : n + size]) for n in range(0, len(texts), size)]
        units = [Unit(name=f"part {n}", fingerprint=str(n), args=(part,)) for n, part in parts]
        table = Store(root).table("documents/installed")
        map_shards(write_documents, units, table, stage=Stage(name="documents", code_version="1"))
        pool = in_a_process_of_its_own("--measure", "processes", root)
        ray = in_a_process_of_its_own("--measure", "ray", root)
    found = summary(pool, ray, options.megabytes)
    print(json.dumps(found) if options.json else "\n".join(f"{key}: {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
