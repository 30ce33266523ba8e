"""The configuration of a run, checked when it starts: every key matches something, and every value keeps its rule."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._config.validate import process_config
from dagster._core.definitions.dependency import Node
from pydantic import ValidationError

from codeft_assets.defs.failures import ExplainedError, explained_failures
from codeft_assets.defs.process import TAG, process_name
from codeft_assets.defs.settings import Settings
from codeft_assets.defs.workspace import Workspace


def checked_workspace(assets: Iterable[Any], nodes: Iterable[Node]) -> Workspace:
    """Return a workspace that refuses a run whose configuration is wrong, before anything is computed.

    A key must name one of ``assets`` or of the ``nodes`` of other jobs: Dagster accepts another and ignores it, a run
    without the configured limit. The run's process is noted as a tag.
    """
    known = {definition.op.name: definition.op for definition in assets if isinstance(definition, dg.AssetsDefinition)}
    known |= {node.name: node.definition for node in nodes if isinstance(node.definition, dg.OpDefinition)}

    class CheckedWorkspace(Workspace):
        def __init__(self, **given: Any) -> None:
            with explained("workspace"):
                super().__init__(**given)

        def setup_for_execution(self, context: dg.InitResourceContext) -> None:
            if context.run:
                with explained_failures():
                    self.check()
                check_keys(context.run.run_config, known)
                check_values(context.run.run_config, known, self)
            if context.run and context.instance and (name := process_name()):
                context.instance.add_run_tags(context.run.run_id, {TAG: name})

    return CheckedWorkspace()


def check_keys(run_config: Mapping[str, Any], known: Iterable[str]) -> None:
    """Check that every key below ``ops`` is the name of something.

    Raises:
        ExplainedError: one is not; the message has the name that it resembles.
    """
    names = sorted(known)
    for key in run_config.get("ops", {}):
        if key not in names:
            like = "".join(letter if letter.isalnum() else "_" for letter in key.replace("/", "__"))
            near = difflib.get_close_matches(like, names, n=1)
            meant = f", such as {near[0]!r}" if near else ""
            raise ExplainedError(
                f"the configuration names {key!r}, which is no asset; write an asset's key with two underscores for / "
                f"and one for every other sign{meant}"
            )


def check_values(run_config: Mapping[str, Any], known: Mapping[str, dg.OpDefinition], workspace: Workspace) -> None:
    """Check every value below ``ops`` by the rule of its field, and by those of its configuration.

    Raises:
        ExplainedError: a value breaks its rule.
    """
    for key, given in run_config.get("ops", {}).items():
        function = known[key].compute_fn if key in known else None
        if not (given or {}).get("config") or not getattr(function, "has_config_arg", bool)():
            continue
        read = process_config(known[key].config_schema.config_type, given["config"])
        kind = function.get_config_arg().annotation  # type: ignore[union-attr]
        with explained(key):
            config = kind(**(read.value or {}))
            if isinstance(config, Settings):
                config.check(workspace)


@contextmanager
def explained(key: str) -> Iterator[None]:
    """Raise a wrong value below ``key`` as an error that explains itself."""
    try:
        yield
    except ValidationError as error:
        wrong = "; ".join(f"{_path(found)} = {found['input']!r}: {found['msg']}" for found in error.errors())
        raise ExplainedError(f"{key}: {wrong}; correct the run's configuration") from None
    except ValueError as error:
        raise ExplainedError(f"{key}: {error}; correct the run's configuration") from None


def _path(error: Any) -> str:
    return ".".join(map(str, error["loc"]))
