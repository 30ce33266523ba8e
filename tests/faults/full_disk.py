"""Run in a mount namespace of its own: a small tmpfs is the data root, fills up, is made larger, and all is well."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.faults.world import World, error_of, require

FREE_BYTES = 3 * 2**16
"""Enough for the sources, too little for what follows."""


class _Hub:
    def __init__(self, url):
        self.url = url


def main():
    folder, url, undisturbed, how = sys.argv[1:]
    world, reference = World(folder, _Hub(url)), World(undisturbed, _Hub(url))
    limited = []
    if how == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", world.data], check=True)
    else:
        limited = ["prlimit", f"--fsize={FREE_BYTES // 6}"]
    begin = World(f"{folder}-begin", _Hub(url), begin_from=reference).data
    shutil.copytree(begin, world.data, dirs_exist_ok=True)
    if how == "tmpfs":
        used = sum(path.stat().st_blocks * 512 for path in Path(world.data).rglob("*"))
        subprocess.run(["mount", "-o", f"remount,size={used + FREE_BYTES}", world.data], check=True)
    code, log = run(world, limited)
    require(code != 0, "a full disk was no error")
    require("free space and run again" in log, f"no remedy: {error_of(log)}")
    left = [path for path in Path(world.data).rglob(".tmp-*") if path.is_file()]
    require(not left, f"half-written files are left: {left[:2]}")
    for table in world.store.tables():
        table.read()  # what is committed can be read
    num_before = len(world.store.tables())
    if how == "tmpfs":
        subprocess.run(["mount", "-o", "remount,size=200m", world.data], check=True)
    code, log = run(world, [])
    require(code == 0, f"with space again, the run failed: {error_of(log)}")
    require(world.hashes() == reference.hashes(), "with space again, the hashes are others")
    print(f"error names the remedy; {num_before} tables whole, none half; with space again the undisturbed hashes")


def run(world, prefix):
    from tests.faults.world import CORPUS, LOCATION, ROOT

    command = [*prefix, sys.executable, "-m", "dagster", "asset", "materialize", "-m", LOCATION, "--select", CORPUS]
    done = subprocess.run(command, env=world.environment, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    main()
