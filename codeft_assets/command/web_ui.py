"""``dagster dev`` whose first page is the graph of all assets: Dagster's own are the runs of the last hours.

The graph is drawn top to bottom, unless a person chose otherwise: side by side, its groups are too small for counts.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

FIRST_PAGE = """<!doctype html><title>codeFT</title><script>
if (!localStorage.getItem("asset-graph-direction")) localStorage.setItem("asset-graph-direction", '"vertical"');
location.replace("/asset-groups");
</script><a href="/asset-groups">assets</a>"""
_MODULE = "codeft_assets.command.web_ui"


def dev() -> None:
    """Run ``dagster dev`` with this module as its web server."""
    module: Any = importlib.import_module("dagster._cli.dev")
    start = module.open_ipc_subprocess

    def start_ours(words: list[str], **options: Any) -> Any:
        return start([_MODULE if word == "dagster_webserver" else word for word in words], **options)

    module.open_ipc_subprocess = start_ours
    try:
        module.dev_command(prog_name="codeft ui")
    except subprocess.TimeoutExpired:  # on a busy machine Dagster does not wait long enough for it
        sys.exit("the code server has not ended within 30 s; it ends by itself once its runs have")


def serve() -> None:
    """Run ``dagster-webserver`` with the first page at its root."""
    from dagster_webserver.cli import main
    from dagster_webserver.webserver import DagsterWebserver
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    class Webserver(DagsterWebserver):
        def build_routes(self) -> list[Any]:
            return [Route("/", lambda _: HTMLResponse(FIRST_PAGE)), *super().build_routes()]

    app: Any = importlib.import_module("dagster_webserver.app")
    app.DagsterWebserver = Webserver
    main()


if __name__ == "__main__":
    serve() if "--shutdown-pipe" in sys.argv else dev()
