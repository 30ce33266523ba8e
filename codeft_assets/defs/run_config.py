"""The configuration of a run: choices are enums, and every key matches something."""

import difflib
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import dagster as dg

from codeft_assets.defs.process import TAG, process_name
from codeft_assets.defs.workspace import Workspace
from codeft_training.recipes import RECIPES


def choice(name: str, values: Iterable[str]) -> Any:
    """Return an enum whose members are the texts themselves: the launchpad lists them and refuses others."""
    return Enum(name, {value: value for value in values})


RecipeName: Any = Enum("RecipeName", {"default": ""} | {name: name for name in sorted(RECIPES)})
"""``default`` is the workspace's recipe."""


def checked_workspace(assets: Iterable[Any], others: Iterable[str]) -> Workspace:
    """Return a workspace that refuses a run whose configuration names neither one of ``assets`` nor of ``others``.

    Dagster accepts such a key and ignores it: a run without the configured limit. The run's process is noted as a tag.
    """
    known = {definition.node_def.name for definition in assets if isinstance(definition, dg.AssetsDefinition)}
    known |= set(others)

    class CheckedWorkspace(Workspace):
        def setup_for_execution(self, context: dg.InitResourceContext) -> None:
            if context.run:
                check_keys(context.run.run_config, known)
            if context.run and context.instance and (name := process_name()):
                context.instance.add_run_tags(context.run.run_id, {TAG: name})

    return CheckedWorkspace()


def check_keys(run_config: Mapping[str, Any], known: Iterable[str]) -> None:
    """Check that every key below ``ops`` is the name of something.

    Raises:
        ValueError: one is not; the message has the name that it resembles.
    """
    names = sorted(known)
    for key in run_config.get("ops", {}):
        if key not in names:
            like = "".join(letter if letter.isalnum() else "_" for letter in key.replace("/", "__"))
            near = difflib.get_close_matches(like, names, n=1)
            meant = f", such as {near[0]!r}" if near else ""
            raise ValueError(
                f"the configuration names {key!r}, which is no asset; write an asset's key with two underscores for / "
                f"and one for every other sign{meant}"
            )
