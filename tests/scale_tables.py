"""Writes the tables of docs/from_a_laptop_to_a_cluster.md from the files of runs in `docs/measured`.

python -m tests.scale_tables
"""

import json

from codeft_assets.base.markdown import table
from codeft_assets.curation.dedup.deduplicate import DedupParams
from tests.papers import MEASURED, render
from tests.walk import ROOT

PAGE = ROOT / "docs/from_a_laptop_to_a_cluster.md"
SIZES = (110_000_000, 10_000_000_000)
LARGER_UNITS = 1 << 28
"""`max_keys` of the second line of a size: links read columns again for each part of a band."""
FAULTS = {
    "worker killed": "a worker killed in its unit",
    "driver killed": "the process of the asset killed",
    "unit hangs": "a unit hangs",
    "node removed": "a node removed in its unit",
}
EXECUTORS = {
    "pool": "pool of two processes",
    "ray_1_node": "Ray, one node of one CPU",
    "ray_2_nodes": "Ray, two nodes of one CPU",
}


def growth(scale):
    """A row for each stage, a column for each number of documents: CPU seconds and the largest process."""
    stages = {f"{int(size):,}": found for size, found in scale["stage"].items()}
    several = f"{scale['processes']} processes of another machine"
    stages |= {f"{int(size):,}, {several}": found for size, found in scale["stage_in_processes"].items()}
    names = list(next(iter(stages.values())))
    rows = [
        (_stage(name), *(f"{found[name]['seconds']:.1f} s, {found[name]['peak_mb']:,} MB" for found in stages.values()))
        for name in names
    ]
    largest = [f"{largest_process(found):,} MB" for found in stages.values()]
    return table(("stage", *stages), [*rows, ("largest process", *largest)])


def largest_process(found):
    return max(cost["peak_mb"] for cost in found.values())


def _stage(name):
    known = {"sign": "dedup/signatures", "clusters": "dedup/clusters"}
    known |= {name: f"corpus/{name}" for name in ("mixture_plan", "ledger")}
    return known.get(name, f"steps/{name}")


def on_paper(scale):
    """A straight line from the largest size that was measured; what links read again grows faster, and is counted."""
    size, found = max(((int(size), found) for size, found in scale["stage"].items()), key=lambda item: item[0])
    cpu = sum(cost["seconds"] for cost in found.values()) / size
    rows = []
    for documents in SIZES:
        for max_keys in (DedupParams().max_keys, LARGER_UNITS):
            parts = 1 << max(-(-documents // max_keys) - 1, 0).bit_length()
            units = parts * DedupParams().minhash.num_bands
            num_hours, read = documents * cpu / 3600, units * documents * 8 / 1e12
            rows.append((f"{documents:,}", f"{max_keys:,}", f"{num_hours:,.1f}", f"{units:,}", f"{read:,.2f}"))
    columns = ("documents", "max_keys", "CPU hours", "units of steps/links", "TB that these read")
    return table(columns, rows)


def executors(cluster):
    """A row for each executor."""
    rows = [
        (
            label,
            f"{found['cpu']:.1f}",
            f"{found['seconds']:.0f}",
            f"{found['peak_mb']:.0f} MB" if name != "pool" else "–",
        )
        for name, label in EXECUTORS.items()
        for found in (cluster[name],)
    ]
    spun = cluster["unit_of_a_second"]
    rows += [
        (f"{spun['units']} units of a second, {name}", f"{spun[f'{name}_cpu']:.1f}", "–", "–")
        for name in ("pool", "ray")
    ]
    return table(("where units run", f"CPU seconds for {cluster['megabytes']} MB", "seconds", "largest process"), rows)


def changes(scale, cluster):
    """A row for each place in which one changed source was deduplicated."""
    found, change = scale["changed"], cluster["ray_2_nodes"]["change"]
    shards = f"{change['changed']['run'][0]} of {change['anew']['run'][0]}"
    rows = [
        ("one process", found["changed_seconds"], found["full_seconds"], found["shards_signed"], found["identical"]),
        ("Ray, two nodes", change["changed"]["cpu"], change["anew"]["cpu"], shards, cluster["change_identical"]),
    ]
    columns = (
        "where",
        "CPU seconds",
        "all of it, CPU seconds",
        "of it",
        "shards signed",
        "same content hash as all of it",
    )
    shown = [
        (where, f"{some:.2f}", f"{whole:.2f}", f"{some / whole:.0%}", signed, "yes" if same else "no")
        for where, some, whole, signed, same in rows
    ]
    return table(columns, shown)


def faults(cluster):
    """A row for each fault."""
    rows = [
        (
            FAULTS[found["what"]],
            found["redone"],
            found["kept"] or "–",
            f"{found['seconds']:.0f}",
            "yes" if found["hash_equal"] else "no",
        )
        for found in cluster["ray_2_nodes"]["faults"]
    ]
    return table(("fault", "units begun again", "units kept", "seconds", "same content hash"), rows)


def tables():
    scale, cluster = (json.loads((MEASURED / name).read_text()) for name in ("dedup_scale.json", "cluster.json"))
    return {
        "growth": growth(scale),
        "on_paper": on_paper(scale),
        "executors": executors(cluster),
        "changes": changes(scale, cluster),
        "faults": faults(cluster),
    }


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(), tables()))
