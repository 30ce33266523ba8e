"""The real code location with three Hub sources only, for a daemon that must be quick."""

from codeft_assets import sources

KEPT = ("o1-journey", "open-tora", "tess-coder")
for _name in [name for name in sources.SOURCES if name not in KEPT]:
    del sources.SOURCES[_name]

from codeft_assets.definitions import defs  # noqa: E402
from codeft_assets.defs import shell  # noqa: E402

shell.RETRY_WAIT_SECONDS = 1

__all__ = ["defs"]
