"""Assets that a user switches on by name in CODEFT_PARTS; until then the code location does not have them."""

import importlib
import os
from types import ModuleType

import dagster as dg

VARIABLE = "CODEFT_PARTS"
PARTS = {
    "preferences": ("preferences/attempts", "preferences/pairs", "preferences/preferred"),
    "mixture_search": ("corpus/mixture_search",),
    "opencoder": ("quality/opencoder",),
    "selection": ("selection/own_tests", "selection/leaks", "selection/instructions"),
}
"""Name of a module here -> its assets."""


def optional_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of the parts that are switched on."""
    return [asset for module in _modules() for asset in module.ASSETS]


def optional_checks() -> list[dg.AssetChecksDefinition]:
    """Return the asset checks of the parts that are switched on."""
    return [check for module in _modules() for check in getattr(module, "CHECKS", ())]


def _modules() -> list[ModuleType]:
    """Return the modules that the environment names, divided by commas.

    Raises:
        ValueError: there is no part of such a name.
    """
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise ValueError(f"{VARIABLE} names {unknown[0]!r}; there are {', '.join(PARTS)}, divided by commas")
    return [importlib.import_module(f"{__name__}.{name}") for name in PARTS if name in names]
