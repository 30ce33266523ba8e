"""``make faults``: breaks everything that can break on one machine and looks at what the next run makes of it.

Every row ends in the undisturbed content hashes, or in one error that names the remedy and then in these. Exits 0 only
if every row does. ``python -m tests.faults WORD`` runs the rows whose name holds the word.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import damage, kills, operations
from tests.faults.world import EVERYTHING, NotRecovered, World, error_of, require, serve


def rows(undisturbed, folder):
    """Return every fault as (name, function of the undisturbed world and a folder)."""
    found = [
        *kills.steps(undisturbed, folder / "steps"),
        ("pool worker killed", kills.worker),
        *((f"{name} killed", kills.server(name)) for name in ("webserver", "daemon", "code server", "run worker")),
        ("training process and its run killed", kills.training),
        ("disk full", damage.disk_full),
        ("Hub cuts a download", damage.hub_cut),
        ("Hub answers 503", damage.hub_down),
        ("bit flipped in documents", damage.corrupt_documents),
        ("bit flipped in scores", damage.corrupt_scores),
        ("file times of 2045 and 1985", damage.clock_skewed),
        ("two runs at once", damage.two_at_once),
        ("reader while a table is replaced", damage.read_while_written),
        ("source changes its schema", damage.schema_changed),
        *operations.ROWS,
    ]
    if kills.postgres_programs():
        found.append(("PostgreSQL restarted", kills.postgres))
    if damage.COMPILER:
        found.append(("clock jumps ten years", damage.clock_jumps))
    return found


def main(words):
    folder, hub = Path(tempfile.mkdtemp(prefix="codeft-faults-", dir="/tmp")), serve()
    try:
        undisturbed = World(folder / "undisturbed", hub)
        code, log = undisturbed.run(EVERYTHING)
        require(code == 0, f"the undisturbed run failed: {error_of(log)}")
        print(f"undisturbed: {len(undisturbed.hashes())} tables\n", flush=True)
        print("| fault | outcome | seconds |\n|---|---|---|", flush=True)
        results = [
            run_row(name, fault, undisturbed, folder / f"row-{number}")
            for number, (name, fault) in enumerate(rows(undisturbed, folder))
            if not words or any(word in name for word in words)
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    num_recovered = sum(results)
    print(f"\n{len(results)} faults, {num_recovered} recovered, {len(results) - num_recovered} lost")
    return 0 if all(results) else 1


def run_row(name, fault, undisturbed, folder):
    start = time.monotonic()
    try:
        outcome, recovered = fault(undisturbed, folder), True
    except NotRecovered as error:
        outcome, recovered = f"**LOST**: {error}", False
    shutil.rmtree(folder, ignore_errors=True)
    print(f"| {name} | {outcome} | {time.monotonic() - start:.0f} |".replace("\n", " "), flush=True)
    return recovered


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
