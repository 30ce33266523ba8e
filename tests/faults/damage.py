"""Faults of the data: the disk, the Hub, the clock, a second run, a changed schema."""

import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from tests.faults.world import CORPUS, ROOT, SCORED, NotRecovered, World, error_of, follow, require

REPO = "GAIR/o1-journey"
FILE = "data/train.jsonl"
COMPILER = shutil.which("cc")
"""Without one no clock is skewed."""


def _same(world, undisturbed, what="the next run"):
    code, log = world.run()
    require(code == 0, f"{what} failed: {error_of(log)}")
    require(world.hashes() == undisturbed.hashes(), f"{what} ended in other content hashes")
    return f"{what} ended in the undisturbed content hashes"


def hub_cut(undisturbed, folder):
    """The Hub cuts the connection in the middle of a file, more often than the client retries."""
    world = World(folder, undisturbed.hub, begin_from=undisturbed)
    world.hub.fail(f"resolve/.*/{FILE}", "cut", times=400)
    code, log = world.run("documents/o1-journey")
    world.hub.faults.clear()
    require(code != 0, "a cut-off file was taken for a whole one")
    require(not world.table("documents/o1-journey").exists(), "a table was made of a cut-off file")
    require("run the asset again" in log, f"no remedy: {error_of(log)}")
    return f"error names the remedy ({error_of(log)[:90]}…); {_same(world, undisturbed)}"


def hub_down(undisturbed, folder):
    """The Hub answers 503 twice to everything."""
    world = World(folder, undisturbed.hub, begin_from=undisturbed)
    world.hub.fail("GAIR/o1-journey", status=503, times=2)
    return _same(world, undisturbed, "the same run, after retries,")


def schema_changed(undisturbed, folder):
    """Upstream renames the columns of a source between two revisions."""
    world, hub = World(folder, undisturbed.hub, copy_of=undisturbed), undisturbed.hub
    repo = hub.repos[REPO]
    head, good = repo.head, repo.commits[repo.head][FILE]
    try:
        hub.commit(REPO, {FILE: good.replace(b'"question"', b'"ask"').replace(b'"answer"', b'"reply"')})
        code, log = world.run()
        require(code != 0, "a renamed column was taken")
        require("sources.py" in log and "ask" in log, f"no remedy: {error_of(log)}")
        require(world.hashes() == undisturbed.hashes(), "the table of before is gone")
        said = error_of(log)
    finally:
        repo.head = head
    return f"error names the columns and the remedy ({said[:110]}…); the old table stays; {_same(world, undisturbed)}"


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _corrupt(undisturbed, folder, key, downstream):
    world = World(folder, undisturbed.hub, copy_of=undisturbed)
    table = world.table(key)
    path = Path(table.path(table.manifest().shards[0].path))
    _flip(path)
    world.forget(downstream)
    code, log = world.run(downstream)
    require(code != 0, "a damaged shard was read")
    require(f"delete the file {path}" in log, f"no remedy: {error_of(log)}")
    require(not world.table(downstream).exists(), "something was made of a damaged shard")
    path.unlink()  # the remedy
    return f"error names file and remedy; done, {_same(world, undisturbed)}"


def corrupt_documents(undisturbed, folder):
    """One bit of a documents shard flips on disk."""
    return _corrupt(undisturbed, folder, "documents/o1-journey", "dedup/signatures")


def corrupt_scores(undisturbed, folder):
    """One bit of a scores shard, which stages read lazily, flips on disk."""
    return _corrupt(undisturbed, folder, "quality/scores", "corpus/ledger")


def clock_skewed(undisturbed, folder):
    """Every file of the data root is dated 2045, then 1985, and a stage is missing."""
    world = World(folder, undisturbed.hub, copy_of=undisturbed)
    for year, keys in ((2045, ()), (1985, ("dedup/clusters", "corpus/mixture"))):
        world.forget(*keys)
        seconds = (year - 1970) * 31557600
        for path in world.data.rglob("*"):
            os.utime(path, (seconds, seconds))
        said = _same(world, undisturbed, f"the run on files of {year}")
    return said


def clock_jumps(undisturbed, folder):
    """A run happens ten years in the future, the next one in the present."""
    world = World(folder, undisturbed.hub, begin_from=undisturbed)
    skewed = str(folder / "skewed_clock.so")
    source = Path(__file__).with_name("skewed_clock.c")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", skewed, source, "-ldl"], check=True)
    future = {"LD_PRELOAD": skewed, "CLOCK_SKEW_SECONDS": str(10 * 31557600)}
    code, log = world.run(f"group:sources or {SCORED}", **future)
    require(code == 0, f"the run in the future failed: {error_of(log)}")
    year = str(datetime.now(tz=UTC).year + 10)
    require(f"\n{year}-" in log, "the clock did not jump")
    return f"a run of {year} succeeded; {_same(world, undisturbed)}"


def two_at_once(undisturbed, folder):
    """Two runs of everything at the same time on the same data root."""
    world = World(folder, undisturbed.hub, begin_from=undisturbed)
    with dg.DagsterInstance.from_config(str(world.home)):
        pass  # two processes that both create Dagster's SQLite files can break them: a race of Dagster 1.13, not ours
    ended = [follow(started) for started in [world.start("--select", CORPUS) for _ in range(2)]]
    for code, log in ended:
        require(code == 0, f"one of two runs failed: {error_of(log)}")
    require(world.hashes() == undisturbed.hashes(), "two runs at once ended in other hashes")
    return f"both succeeded; {_same(world, undisturbed)}"


def read_while_written(undisturbed, folder):
    """A reader reads the corpus all the time while a changed source replaces it."""
    world, hub = World(folder, undisturbed.hub, copy_of=undisturbed), undisturbed.hub
    repo = hub.repos[REPO]
    head = repo.head
    seen, errors, stop = set(), [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                table = world.table("corpus/mixture")
                manifest = table.manifest()
                rows = sum(table.read_shard(shard).num_rows for shard in manifest.shards)
                require(rows == manifest.num_rows, "rows are missing")
                seen.add(manifest.content_hash)
            except Exception as error:  # noqa: BLE001  whatever a reader may meet is what we are after
                errors.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=read)
    thread.start()
    try:
        lines = repo.commits[head][FILE].splitlines(True)
        hub.commit(REPO, {FILE: b"".join(lines[:-1])})
        code, log = world.run()
    finally:
        repo.head = head
        stop.set()
        thread.join()
    require(code == 0, error_of(log))
    require(not errors, f"a reader saw: {errors[:1]}")
    after = world.hashes()["corpus/mixture"]
    require(seen <= {undisturbed.hashes()["corpus/mixture"], after}, "a reader saw a table that was never committed")
    return f"readers saw the old or the new corpus and nothing else; back again, {_same(world, undisturbed)}"


def disk_full(undisturbed, folder):
    """The data root lies on a disk that fills up in the middle of a run (a tmpfs where mounting is permitted)."""
    environment = World(folder, undisturbed.hub).environment
    inside = ["unshare", "--map-root-user", "--mount"]
    can_mount = subprocess.run([*inside, "true"], capture_output=True, check=False).returncode == 0
    command = [
        sys.executable,
        "-m",
        "tests.faults.full_disk",
        str(folder),
        undisturbed.hub.url,
        str(undisturbed.folder),
    ]
    how = "tmpfs" if can_mount else "limit"
    done = subprocess.run(
        [*(inside if can_mount else []), *command, how], env=environment, cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise NotRecovered((done.stdout + done.stderr).strip().splitlines()[-1])
    return f"{how}: {done.stdout.strip().splitlines()[-1]}"
