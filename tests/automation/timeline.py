"""Five scenarios with a real daemon and a local Hub: what changed, what ran, and how long after.

``python -m tests.automation.timeline`` prints a table and exits 0 only if every scenario ran what it should. The hour
between two looks is a few seconds here, the quiet time a few more.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from tests.faults.world import EVERYTHING, LOCATION, ROOT, World, error_of, require, serve, wait_until

LOOK_SECONDS, QUIET_SECONDS = 4, 20
FIVE = {
    "o1-journey": "GAIR/o1-journey",
    "open-tora": "SciPhi/open-tora",
    "tess-coder": "migtissera/Tess-Coder-v1.0",
    "glaive-code-assistant": "glaiveai/glaive-code-assistant",
    "code-instructions-122k": "TokenBender/code_instructions_122k_alpaca_style",
}
STAGES = {
    *("quality/signals", "quality/scores", "dedup/signatures", "dedup/clusters", "decontamination/matches"),
    *("corpus/mixture_plan", "corpus/ledger", "corpus/mixture"),
}


class Timeline:
    """The daemon, its instance, and what was seen."""

    def __init__(self, world, instance):
        self.world, self.instance, self.rows = world, instance, []

    def runs(self):
        return {run.run_id: run for run in self.instance.get_runs()}

    def made(self, run_ids):
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        entries = [entry for run_id in run_ids for entry in self.instance.all_logs(run_id, of_type=kind)]
        return sorted((entry.timestamp, entry.asset_materialization.asset_key.to_user_string()) for entry in entries)

    def num_looks(self):
        return sum(
            len(self.instance.get_ticks(state.instigator_origin_id, state.selector_id))
            for state in self.instance.all_instigator_state()
            if state.instigator_name == "upstream_sensor"
        )

    def look(self, times):
        before = self.num_looks()
        require(wait_until(lambda: self.num_looks() >= before + times), "the sensor looks no more")

    def expect(self, scenario, change, expected):
        """Make a change, wait until what is expected was made and all is quiet again; note what was made and when."""
        before, start = set(self.runs()), time.time()
        change()
        new = lambda: [run for run_id, run in self.runs().items() if run_id not in before]  # noqa: E731  over ``before``
        keys = lambda: [key for _, key in self.made([run.run_id for run in new()])]  # noqa: E731  over ``before``
        wait_until(lambda: set(expected) <= set(keys()) and all(run.is_finished for run in new()))
        self.look(3 + QUIET_SECONDS // LOOK_SECONDS)
        made = self.made([run.run_id for run in new()])
        names = [key for _, key in made]
        right = sorted(names) == sorted(expected) and all(run.is_success for run in new())
        after = ", ".join(f"{key} {at - start:.0f} s" for at, key in made if key not in STAGES - {"corpus/mixture"})
        stages = f"; {len(STAGES & set(names))} stages once" if len(names) > 1 and right else ""
        self.note(scenario, f"{len(new())} runs: {after or 'nothing'}{stages}", right)

    def note(self, scenario, said, right):
        self.rows.append(right)
        print(f"| {scenario} | {said} | {'as it should' if right else '**WRONG**'} |", flush=True)


def change_rows(hub, repo, mark):
    """Add a row to a source's data file."""
    found = hub.repos[repo]
    path, content = next((p, c) for p, c in found.commits[found.head].items() if p.endswith((".jsonl", ".json")))
    row = json.loads(content.splitlines()[0])
    row = {key: f"{value} Now {mark} more." if isinstance(value, str) else value for key, value in row.items()}
    hub.commit(repo, {path: content.rstrip(b"\n") + b"\n" + json.dumps(row).encode() + b"\n"})


def scenarios(timeline, hub):
    o1 = FIVE["o1-journey"]
    timeline.expect("nothing changes, at the daemon's first looks and after", lambda: None, [])
    timeline.expect("a README is edited", lambda: hub.commit(o1, {"README.md": "edited"}), [])
    timeline.expect("one source gets a row", lambda: change_rows(hub, o1, "three"), ["documents/o1-journey", *STAGES])

    def five():
        for i, repo in enumerate(FIVE.values()):
            change_rows(hub, repo, f"{i + 5}")
            timeline.look(1)

    timeline.expect(
        "five sources change, each seen by another look", five, [*(f"documents/{name}" for name in FIVE), *STAGES]
    )

    def out_of_reach():
        hub.fail(f"^/api/datasets/{o1}", status=403, times=10_000)  # gated
        hub.repos["hidden"] = hub.repos.pop(FIVE["open-tora"])  # gone
        change_rows(hub, FIVE["tess-coder"], "nine")

    timeline.expect(
        "one source becomes gated, one vanishes, a third changes", out_of_reach, ["documents/tess-coder", *STAGES]
    )
    why = {name: failed_check(timeline.instance, name) for name in ("o1-journey", "open-tora")}
    right = "accept the terms" in why["o1-journey"] and "was not found" in why["open-tora"]
    timeline.note("… and their checks say why", "; ".join(text[:60] + "…" for text in why.values()), right)


def failed_check(instance, name):
    key = dg.AssetCheckKey(dg.AssetKey(["upstream", name]), "reachable")
    summary = instance.event_log_storage.get_asset_check_summary_records([key])[key]
    event = summary.last_check_execution_record.event.dagster_event.asset_check_evaluation_data
    return "" if event.passed else event.description


def main():
    os.environ["CODEFT_TEST_SOURCES"] = ",".join(FIVE)
    folder, hub = Path(tempfile.mkdtemp(prefix="codeft-timeline-")), serve()
    world = World(folder, hub)
    world.environment |= {
        "CODEFT_TEST_SOURCES": ",".join(FIVE),
        "CODEFT_POLL_SECONDS": str(LOOK_SECONDS),
        "CODEFT_QUIET_SECONDS": str(QUIET_SECONDS),
    }
    code, log = world.run(EVERYTHING)
    require(code == 0, error_of(log))
    command = [sys.executable, "-m", "dagster._daemon", "run", "-m", LOCATION]
    daemon = subprocess.Popen(
        command, env=world.environment, cwd=ROOT, stdout=(folder / "daemon.log").open("w"), stderr=subprocess.STDOUT
    )
    try:
        with dg.DagsterInstance.from_config(str(world.home)) as instance:
            timeline = Timeline(world, instance)
            require(wait_until(lambda: timeline.num_looks() >= 2), "the daemon does not look")
            print(f"a look every {LOOK_SECONDS} s, quiet time {QUIET_SECONDS} s\n")
            print("| what changed | what ran, and when after | |\n|---|---|---|", flush=True)
            scenarios(timeline, hub)
    finally:
        daemon.terminate()
        daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{len(timeline.rows)} scenarios, {sum(timeline.rows)} as they should")
    return 0 if all(timeline.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
