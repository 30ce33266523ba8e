"""Measures the web UI's response times with 200 materializations of every asset, beside those with one.

The events are real ones, with the metadata that our assets report, in an instance of the default kind (SQLite). Times
are the median of three visits in a headless Chromium, from the click until what a person came for is drawn.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from codeft_assets.definitions import defs
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.web_ui import plots

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.webui.server import ROOT, browser_page, web_ui

GROUPS = ("upstream", "sources", "quality", "decontamination", "dedup", "corpus", "model", "scores")
VISITS = 3
PATIENCE_MILLISECONDS = 120_000


def reported(number):
    """Return the metadata of one materialization: counts, a table, a preview and two plots."""
    words = {f"language-{i}": float((i + 1) * (number + 7)) for i in range(8)}
    return md.in_reading_order(
        {
            "dagster/row_count": 1000 + number,
            "num_in": 1200 + number,
            "num_out": 1000 + number,
            "dropped_by_reason": md.dropped_table({"empty_text": 120, "wrong_type": 80}, 1200),
            "preview": dg.MetadataValue.md(
                "\n\n".join(md.excerpt("def f(x):\n    return x + 1\n" * 12) for _ in range(2))
            ),
            "languages": plots.bar_plot(words, title="languages", unit="characters"),
            "loss": plots.line_plot(
                {"loss": [(i, 9 / (i + 1)) for i in range(60)]}, title="loss", x_label="step", y_label="nats"
            ),
            "content_hash": f"{number:032x}",
            "path": dg.MetadataValue.path("/data/tables/x"),
            "seconds": 1.25,
        }
    )


def fill(home, events_per_asset):
    """Materialize every asset ``events_per_asset`` times and return how many events that are."""
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text((ROOT / "codeft_assets" / "dagster.yaml").read_text())
    keys = sorted(defs.resolve_asset_graph().materializable_asset_keys)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for number in range(events_per_asset):
            metadata = reported(number)
            for key in keys:
                instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata))
    return len(keys) * events_per_asset


def visit(page, url, what):
    """Return the seconds until ``what`` stands on the page."""
    started = time.perf_counter()
    page.goto(url, wait_until="commit")
    what(page).first.wait_for(timeout=PATIENCE_MILLISECONDS)
    return time.perf_counter() - started


def groups_are_drawn(page):
    return page.locator("foreignObject").get_by_text(GROUPS[-1], exact=True)


def assets_are_drawn(page):
    """At most what the window shows is drawn; the tenth asset of many says that the layout is done."""
    return page.locator("foreignObject").nth(10)


def expanded(url):
    groups = "%2C".join(f"global%40global%3A{name}" for name in GROUPS)
    return f"{url}/asset-groups?expanded={groups}"


PAGES = {
    "asset graph, groups closed": (lambda url: f"{url}/asset-groups", groups_are_drawn),
    "asset graph, groups open": (expanded, assets_are_drawn),
    "one asset: metadata and plots": (
        lambda url: f"{url}/assets/corpus/mixture",
        lambda page: page.locator("td img[src^='data:image/svg']"),
    ),
    "one asset: all its events": (
        lambda url: f"{url}/assets/corpus/mixture?view=events",
        lambda page: page.get_by_text("num_out", exact=True),
    ),
    "list of runs": (lambda url: f"{url}/runs", lambda page: page.get_by_text("Runs", exact=True)),
}


def measure(home):
    """Return page -> median seconds, and what the console called errors."""
    with web_ui(dagster_home=home, codeft_home=home) as url, browser_page(width=1600, height=1000) as (page, errors):
        page.goto(url)  # the browser's first visit fetches the scripts, which it then keeps
        seconds = {
            name: statistics.median(visit(page, address(url), what) for _ in range(VISITS))
            for name, (address, what) in PAGES.items()
        }
        return seconds, list(errors)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=200, help="materializations of each asset")
    options = options.parse_args()
    memory = Path("/dev/shm")  # SQLite waits for the disk at every event that is reported; reading does not
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        found = {}
        for count in (1, options.events):
            home = Path(folder) / str(count)
            started = time.perf_counter()
            total = fill(home, count)
            print(f"{total:,} materializations reported in {time.perf_counter() - started:.1f} s", flush=True)
            found[count], errors = measure(home)
            print(f"console errors with {count} per asset: {errors or 'none'}", flush=True)
    one, many = found[1], found[options.events]
    print(f"\n{'page':32} {'1 each':>9} {f'{options.events} each':>9} {'ratio':>7}")
    for name in PAGES:
        print(f"{name:32} {one[name]:8.2f}s {many[name]:8.2f}s {many[name] / one[name]:7.2f}")


if __name__ == "__main__":
    main()
