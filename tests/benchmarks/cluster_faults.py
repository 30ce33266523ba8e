"""The faults of the cluster's benchmark, each met while the signatures of a corpus are computed on raylets."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from codeft_assets.stages.dedup import sign_documents, signatures_stage
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import map_shards, table_units
from codeft_assets.store.executors import find_executor

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.assets.raylets import once
from tests.benchmarks.dedup_scale import PARAMS, SOURCES

ROOT = Path(__file__).parents[2]
SIGN = signatures_stage(PARAMS.minhash)


def sign(log, fault_at, table, shard, *args):
    """Sign the documents of a shard, note it; the first process at the shard of the fault waits for it."""
    with open(log, "a") as file:
        file.write(f"{shard.path}\n")
    if shard.path == fault_at and once(f"{log}.begun"):
        import ray

        Path(f"{log}.where").write_text(f"{os.getpid()} {ray.get_runtime_context().get_node_id()}")
        signal.pause()
    yield from sign_documents(table, shard, *args)


def await_victim(log):
    """Return the process and the node that wait to be killed."""
    where = Path(f"{log}.where")
    while len(found := where.read_text().split() if where.exists() else []) < 2:
        time.sleep(0.1)
    return int(found[0]), found[1]


def sign_with_fault(root, name):
    """Return the content hash of the signatures and how many units were reused."""
    store, log = Store(root), f"{root}-{name}.log"
    tables = [store.table(f"documents/{source}") for source in SOURCES]
    units = table_units(tables, PARAMS.minhash)
    fault_at, table = units[len(units) // 2].args[1].path, Store(f"{root}-{name}").table("dedup/signatures")
    done = map_shards(partial(sign, log, fault_at), units, table, stage=SIGN, executor=find_executor("ray", 2))
    return done.manifest.content_hash, done.num_skipped


def kill_worker(cluster, log):
    os.kill(await_victim(log)[0], signal.SIGKILL)


def remove_node(cluster, log):
    _, node_id = await_victim(log)
    (node,) = [node for node in cluster.worker_nodes if node.node_id == node_id]
    cluster.remove_node(node, allow_graceful=False)


def let_it_hang(cluster, log):
    await_victim(log)


def kill_driver(cluster, log):
    """Begin it in a process, kill that, and leave the rest to the caller's run."""
    root, name = log.removesuffix(".log").rsplit("-", 1)
    command = [sys.executable, "-m", "tests.benchmarks.cluster_faults", "--root", root, "--fault", name]
    driver = subprocess.Popen(command, cwd=ROOT)
    await_victim(log)
    driver.kill()
    driver.wait()


FAULTS = {"worker killed": kill_worker, "driver killed": kill_driver, "unit hangs": let_it_hang}
FAULTS |= {"node removed": remove_node}
"""The node last: it does not come back."""


def meet(cluster, root, what, fault, wanted):
    name = what.replace(" ", "_")
    log, start = f"{root}-{name}.log", time.monotonic()
    if fault is kill_driver:
        kill_driver(cluster, log)
        content_hash, num_kept = sign_with_fault(root, name)
    else:
        with ThreadPoolExecutor(1) as other:
            done = other.submit(fault, cluster, log)
            content_hash, num_kept = sign_with_fault(root, name)
        done.result()
    begun = Counter(Path(log).read_text().split())
    return {
        "what": what,
        "units": len(begun),
        "redone": sum(count - 1 for count in begun.values()),
        "kept": num_kept,
        "hash_equal": content_hash == wanted,
        "seconds": round(time.monotonic() - start, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=sign_with_fault.__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--fault", required=True)
    options = parser.parse_args()
    sign_with_fault(options.root, options.fault)
