"""Raylets of one machine, for tests; nothing here needs Ray to be imported."""

import os
import time
from contextlib import contextmanager
from pathlib import Path

from tests import patience

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@contextmanager
def ray_nodes():
    """A head that runs no units, and two nodes of one CPU."""
    os.environ["RAY_raylet_start_wait_time_s"] = "180"  # noqa: SIM112  Ray's spelling; a loaded machine is slow, not dead
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(**NODE)
    os.environ["RAY_ADDRESS"] = cluster.address
    yield cluster
    import ray

    ray.shutdown()
    cluster.shutdown()
    del os.environ["RAY_ADDRESS"]


def wait_until(holds):
    end = time.monotonic() + patience.SECONDS
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def once(path):
    """True for the first process that asks."""
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
