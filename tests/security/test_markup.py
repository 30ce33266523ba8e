"""Documents are hostile until shown otherwise: whatever stands in them, the web UI shows text and runs nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from codeft_assets.base.markdown import cell
from codeft_assets.curation.report import StageReport
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.web_ui import plots
from tests import patience

ROOT = Path(__file__).parents[2]
ASSET = dg.AssetKey("hostile")
HOSTILE = (
    "<script>window.ran=1</script>",
    "<img src=x onerror='window.ran=2'>",
    "![x](http://evil.invalid/beacon.png)",
    "[click](javascript:window.ran=3)",
    "</text></svg><script>window.ran=4</script><svg><text>",
    "```\n<script>window.ran=5</script>\n````",
    "x | y \\| <svg onload=window.ran=6> `z`",
    "&lt;script&gt;window.ran=7&lt;/script&gt; &#60;img src=x onerror=window.ran=8&#62;",
    "<iframe srcdoc='<script>parent.ran=9</script>'></iframe>",
    "<a href='data:text/html,<script>1</script>'>d</a> <http://evil.invalid/auto>",
)


def hostile_metadata():
    """Return everything our metadata can show of a document, filled with hostile text."""
    rows = [{"source": text, "source_row": text, "text": text, "note": text} for text in HOSTILE]
    numbers = {text: float(i + 1) for i, text in enumerate(HOSTILE)}
    return {
        "table": md.markdown_table(HOSTILE[:3], [HOSTILE[:3], HOSTILE[3:6], HOSTILE[6:9]]),
        "preview": md.document_preview(pl.DataFrame(rows[:2]), note="note"),
        "preview_b": md.document_preview(pl.DataFrame(rows[5:7]), note="note"),
        "dropped": md.dropped_table({text: 1 for text in HOSTILE}, 10),
        "examples": md.examples_preview(
            StageReport(num_in=10, num_out=0, dropped={"a": 10}, examples={text: (text,) for text in HOSTILE})
        ),
        "bars": plots.bar_plot(numbers, title=HOSTILE[4], unit=HOSTILE[2]),
        "stacked": plots.stacked_bars({text: {text: 1.0} for text in HOSTILE}, title=HOSTILE[0], unit=HOSTILE[1]),
        "lines": plots.line_plot(
            {text: [(0, 0), (1, 1)] for text in HOSTILE}, title=HOSTILE[2], x_label=HOSTILE[4], y_label=HOSTILE[1]
        ),
        "text": dg.MetadataValue.text(HOSTILE[0]),
    }


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_holds_no_markup_of_its_text(text):
    shown = cell(text)
    assert not re.search(r"[<|`\[\]\n]", shown), shown


@pytest.mark.parametrize("text", HOSTILE)
def test_an_embedded_plot_stays_one_image(text):
    shown = plots.bar_plot({text: 1.0}, title=text, unit=text).md_str
    image = re.search(r"!\[[^\[\]]*\]\(data:image/svg\+xml,([^)\s]*)\)$", shown)
    assert image, shown
    assert "<script" not in image[1]
    assert not re.search(r"<[a-z]+[^>]* on[a-z]+=", image[1])


SCRIPT = """
import sys
import dagster as dg
sys.path.insert(0, {root!r})
from tests.security.test_markup import ASSET, HOSTILE, hostile_metadata

@dg.asset(key=ASSET, description="\\n\\n".join(md for md in ["an asset"]))
def hostile(): ...

defs = dg.Definitions([hostile])
if __name__ == "__main__":
    made = dg.AssetMaterialization(ASSET, metadata=hostile_metadata(), description=HOSTILE[0])
    dg.DagsterInstance.get().report_runless_asset_event(made)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/usr/bin/chromium"), reason="needs Chromium")
def test_no_script_runs_and_no_stranger_is_asked_in_the_web_ui(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    (tmp_path / "hostile.py").write_text(SCRIPT.format(root=str(ROOT)))
    environment = os.environ | {"DAGSTER_HOME": str(tmp_path / "home"), "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "hostile.py"], cwd=tmp_path, env=environment, check=True)
    port = free_port()
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-f", "hostile.py"]
    server = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    asked, dialogs = [], []
    try:
        wait_for(f"http://127.0.0.1:{port}/server_info")
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1400, "height": 4000})
            page.on("request", lambda request: asked.append(request.url))
            page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
            page.goto(f"http://127.0.0.1:{port}/assets/hostile?view=overview")
            page.get_by_text("preview_b").first.wait_for(timeout=1000 * patience.SECONDS)
            page.wait_for_load_state("networkidle")
            for link in page.get_by_text("Show Markdown").all()[:12]:
                link.click()
                page.wait_for_timeout(300)
                assert page.evaluate("window.ran") is None
                page.keyboard.press("Escape")
            if shot := os.environ.get("CODEFT_SHOT"):
                page.screenshot(path=shot)
            links = page.eval_on_selector_all("a", "found => found.map(a => a.getAttribute('href') || '')")
            ran = page.evaluate("window.ran")
            browser.close()
    finally:
        server.terminate()
        server.wait()
    assert ran is None
    assert dialogs == []
    assert [url for url in asked if "evil.invalid" in url] == []
    assert [link for link in links if link.startswith(("javascript:", "data:"))] == []


def free_port():
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(url):
    import threading
    import urllib.request

    for _ in range(3 * patience.SECONDS):
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except OSError:
            threading.Event().wait(0.3)
    raise AssertionError(f"{url} does not answer")
