"""Exercises that a teacher writes: off until a launch names one."""

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from codeft_assets.defs.run_stage import GPU_POOL, OWNERS, in_parts
from codeft_assets.defs.settings import Seed, Settings
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.workspace import Workspace
from codeft_assets.own_sources import TAUGHT_KEY
from codeft_assets.stages.code_version import code_version_of

OFF = (
    "No teacher is configured, so nothing was written. Launch this asset with `teacher`: a folder with a causal "
    "language model, or the URL of an OpenAI-compatible endpoint with `model` (its key comes from "
    "`CODEFT_TEACHER_KEY`). Then reload the definitions: the source `exercises-taught` reads the result."
)


class TaughtConfig(Settings):
    """The teacher, and how much it writes."""

    teacher: str = Field(default="", description="A model's folder, or an endpoint's URL with its version. Empty: off")
    model: str = Field(default="", description="The name that an endpoint serves")
    count: int = Field(default=1000, ge=1, description="Statements to ask for")
    solutions: int = Field(default=4, ge=1, description="Solutions to ask for, of each statement")
    parts: int = Field(default=1, ge=1, description="Programs of the Ray cluster that write and judge at a time")
    seed: Seed = Field(default=0, description="Of topics and samples")


@dg.asset(
    key=TAUGHT_KEY.split("/"),
    group_name="sources",
    kinds={"python"},
    owners=OWNERS,
    pool=GPU_POOL,
    code_version=code_version_of("codeft_assets.teachers.generate:generate", "codeft_assets.teachers.judge:judge"),
)
def taught(
    context: dg.AssetExecutionContext, config: TaughtConfig, workspace: Workspace, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """One row is an exercise that a model wrote and solved: signature, docstring with examples, body.

    The model writes a statement, then several solutions; the sandbox runs the examples. Where the model's own values
    are wrong, the majority of its solutions computes them. What passes is kept, every reject is counted with its
    reason, and every answer is in a journal: a run that is killed pays for nothing twice. Off until a launch names a
    teacher.
    """
    if not config.teacher:
        return dg.MaterializeResult(metadata={"state": "off", "how_to_turn_it_on": dg.MetadataValue.md(OFF)})
    folder = workspace.store.folder(TAUGHT_KEY)
    command = [sys.executable, "-m", "codeft_assets.teachers", "--teacher", config.teacher, "--model", config.model]
    for name in ("solutions", "seed"):
        command += [f"--{name}", str(getattr(config, name))]
    client = workspace.program_client(pipes)
    num_parts = min(config.parts, config.count)
    bounds = [config.count * number // num_parts for number in range(num_parts + 1)]
    parts = in_parts(
        *(context, client, num_parts),
        lambda part, number: [
            *(*command, "--output", str(part), "--first", str(bounds[number])),
            *("--count", str(bounds[number + 1] - bounds[number])),
        ],
    )
    command += ["--parts", *map(str, parts)] if parts else []
    with workspace.store.lock(TAUGHT_KEY):
        client.run(command=[*command, "--output", str(folder), "--count", str(config.count)], context=context)
        workspace.store.publish()
    return dg.MaterializeResult(metadata=_metadata(folder))


def _metadata(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "yield.json").read_text(encoding="utf-8"))
    costs = {name: value for name, value in found["generation"].items() if value is not None}
    return {
        "state": "on",
        "num_made": found["made"],
        "num_passed": found["passed"],
        "num_passed_with_computed_examples": found["passed_by_examples"].get("computed", 0),
        "rejected": md.markdown_table(("reason", "statements"), found["rejected"].items()),
        **costs,
        "folder": dg.MetadataValue.path(str(folder)),
    }
