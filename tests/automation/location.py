"""The real code location with a few Hub sources only, for a daemon that must be quick."""

import os

from codeft_assets import sources

KEPT = os.environ.get("CODEFT_TEST_SOURCES", "o1-journey,open-tora,tess-coder").split(",")
for _name in [name for name in sources.SOURCES if name not in KEPT]:
    del sources.SOURCES[_name]

from codeft_assets.definitions import defs  # noqa: E402  after the catalogue is cut
from codeft_assets.defs import run_stage  # noqa: E402  as above

run_stage.RETRY_WAIT_SECONDS = 1

__all__ = ["defs"]
