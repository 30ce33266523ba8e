"""``codeft ui`` opens on the graph of assets, with Dagster's own pages beside it."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests import patience
from tests.webui.server import ROOT, free_port, wait_until_served

pytestmark = pytest.mark.slow


def body(url):
    with urllib.request.urlopen(url, timeout=patience.SECONDS) as answer:
        return answer.read().decode()


def test_the_root_leads_to_the_graph_and_dagster_serves_the_rest(tmp_path):
    (tmp_path / "tiny.py").write_text("import dagster as dg\ndefs = dg.Definitions()\n")
    port, environment = free_port(), os.environ | {"DAGSTER_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "codeft_assets.command.web_ui", "-f", "tiny.py", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        wait_until_served(f"http://127.0.0.1:{port}/server_info", process)
        root, graph = (body(f"http://127.0.0.1:{port}{path}") for path in ("/", "/asset-groups"))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(patience.SECONDS)
    assert 'location.replace("/asset-groups")' in root
    assert "_next" in graph
