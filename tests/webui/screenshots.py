"""``make screenshots``: the pictures of README and docs, taken from the web UI over what ``make demo`` left.

The walk is clicked, not jumped to: from a score to the rows it stands on, four clicks along the upstream links.
"""

import argparse
import contextlib
import io
import os
import sys
from pathlib import Path

from tests.webui.server import ROOT, browser_page, web_ui

PICTURES = ROOT / "docs" / "pictures"
MAX_BYTES = 150_000
SETTLE_MILLISECONDS = 2500
PATIENCE_MILLISECONDS = 120_000
WALK = ("scores/embedded", "model/checkpoint", "corpus/packed", "corpus/mixture", "documents/open-tora")
PAGES = {"source": "/assets/documents/open-tora", "scoreboard": "/assets/scoreboard", "ledger": "/assets/corpus/ledger"}
OUTLINE = "outline: 3px solid #d33; outline-offset: 5px; border-radius: 4px"


def wait_until_idle(page):
    from playwright.sync_api import TimeoutError as StillTalkingError

    with contextlib.suppress(StillTalkingError):  # the page polls for new events, and may never fall silent
        page.wait_for_load_state("networkidle", timeout=10_000)
    page.wait_for_timeout(SETTLE_MILLISECONDS)


def save(page, name, *, clip=None):
    """Write a picture with few colors, so that a clone stays small."""
    from PIL import Image

    PICTURES.mkdir(parents=True, exist_ok=True)
    shot = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    path = PICTURES / f"{name}.png"
    shot.quantize(200, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    assert size <= MAX_BYTES, f"{path} has {size:,} bytes, more than {MAX_BYTES:,}; take a smaller part of the page"
    print(f"{path.relative_to(ROOT)}: {size / 1000:.0f} kB")


def graph(page, url):
    """The groups of assets, in the order of the pipeline."""
    page.goto(f"{url}/asset-groups")
    page.evaluate("localStorage.setItem('asset-graph-direction', '\"vertical\"')")  # as the first page of codeft ui
    page.reload()
    page.locator("foreignObject").get_by_text("scores", exact=True).first.wait_for(timeout=PATIENCE_MILLISECONDS)
    page.get_by_text("fetching statuses").first.wait_for(state="hidden", timeout=PATIENCE_MILLISECONDS)
    wait_until_idle(page)
    save(page, "graph", clip={"x": 540, "y": 110, "width": 1060, "height": 880})


def metadata(page, url, name, path):
    """One asset's page from its metadata on: that is what a reader looks for."""
    page.goto(f"{url}{path}")
    page.get_by_placeholder("Filter metadata keys").wait_for(timeout=PATIENCE_MILLISECONDS)
    wait_until_idle(page)
    to_top(page, page.get_by_text("Metadata", exact=True).first)
    save(page, name)


def to_top(page, locator):
    """Scroll until ``locator`` is the first thing below the page's head."""
    locator.evaluate("node => node.scrollIntoView({block: 'start'})")
    page.wait_for_timeout(300)


def walk(page, url):
    """Click from the score to the source's rows; each picture shows the link that is clicked next."""
    page.goto(f"{url}/assets/{WALK[0]}")
    for step, key in enumerate(WALK):
        wait_until_idle(page)
        assert page.url.split("?")[0].endswith(key), f"the walk is at {page.url}, not at {key}"
        if step + 1 < len(WALK):
            link = page.locator(f'a[href*="/assets/{WALK[step + 1]}"]').last
            link.scroll_into_view_if_needed()
            link.evaluate(f"node => node.style.cssText += '{OUTLINE}'")
        else:
            to_top(page, page.get_by_text("Metadata", exact=True).first)
        page.wait_for_timeout(300)
        save(page, f"walk-{step}")
        if step + 1 < len(WALK):
            link.click()


def main():
    options = argparse.ArgumentParser(description=__doc__)
    home = Path(os.environ.get("CODEFT_HOME") or ROOT / ".codeft")
    options.add_argument("--only-graph", action="store_true", help="the graph, not the pages")
    options.add_argument("--home", type=Path, default=home, help="data root that make demo filled")
    options = options.parse_args()
    home = options.home.absolute()
    if not (home / "files" / "scoreboard").exists():
        print(f"{home} holds no scoreboard; run make demo first", file=sys.stderr)
        return 1
    with web_ui(dagster_home=home / "dagster", codeft_home=home) as url:
        for theme, dark in (("", False), ("-dark", True)):
            with browser_page(dark=dark, width=1600, height=1000) as (page, errors):
                if not dark:
                    graph(page, url)
                    if options.only_graph:
                        break
                    walk(page, url)
                for name, path in PAGES.items():
                    metadata(page, url, name + theme, path)
                print(f"console errors: {errors or 'none'}")
                if errors:
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
