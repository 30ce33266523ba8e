"""``python -m tests.webui.fit``: whether each asset's metadata fits its page, measured in a browser over a data root.

A value that cannot be broken to the width of its column widens the table, whose right side is then cut.
"""

import argparse
import os
import sys
from pathlib import Path

from codeft_assets.definitions import defs
from tests.webui.server import ROOT, browser_page, web_ui

HIDDEN = "_all"
"""Ends the keys of values of which the first part is shown in place; the scoreboard's plot shows its rows again."""
MEASURE = """() => {
  const box = (cell) => {
    const copy = cell.cloneNode(true), frame = document.createElement("div");
    frame.style.cssText = "position:absolute;visibility:hidden;width:min-content";
    frame.append(...copy.childNodes); cell.append(frame);
    const width = frame.getBoundingClientRect().width; frame.remove(); return Math.round(width);
  };
  let node = document.querySelector('input[placeholder="Filter metadata keys"]');
  while (!node.querySelector("table")) node = node.parentElement;
  const table = node.querySelector("table"), rows = [...table.rows].slice(1);
  let panel = table.parentElement;
  while (getComputedStyle(panel).overflowX === "visible") panel = panel.parentElement;
  const edge = (element) => element.getBoundingClientRect().right;
  return {cut: Math.max(0, Math.round(edge(table) - edge(panel))), rows: rows.map((row) => ({
    key: row.cells[0].innerText.trim(), key_width: box(row.cells[0]), value_width: box(row.cells[2]),
    hidden: /\\[Show /.test(row.cells[2].innerText), invalid: /Invalid Date|NaN/.test(row.innerText),
  }))};
}"""
FULL_WIDTH = 1440
"""Of the narrowest window in which a page has room beside the navigation."""
KEY_PIXELS, VALUE_PIXELS = 194, 383
"""What a panel of 780 pixels, at a window of that width, leaves beside timestamps and margins."""


def faults(row):
    """Return what is wrong with a row of the table."""
    found = {
        f"key {row['key_width']} px": row["key_width"] > KEY_PIXELS,
        f"value {row['value_width']} px": row["value_width"] > VALUE_PIXELS,
        "behind a click": row["hidden"] and row["key"] != "plot" and not row["key"].endswith(HIDDEN),
        "no date": row["invalid"],
    }
    return [name for name, holds in found.items() if holds]


def main():
    options = argparse.ArgumentParser(description=__doc__)
    home = Path(os.environ.get("CODEFT_HOME") or ROOT / ".codeft")
    options.add_argument("--home", type=Path, default=home, help="data root that make demo filled")
    options.add_argument("--url", help="of a web UI that runs already")
    options.add_argument("--width", type=int, default=FULL_WIDTH)
    options = options.parse_args()
    if options.url:
        return look(options.url, options.width)
    home = options.home.absolute()
    with web_ui(dagster_home=home / "dagster", codeft_home=home) as url:
        return look(url, options.width)


def look(url, width):
    num_wrong = 0
    with browser_page(width=width) as (page, errors):
        if width < FULL_WIDTH:
            page.goto(url)
            page.get_by_text("Hide navigation").click(timeout=60_000)
        for key in sorted(key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys):
            page.goto(f"{url}/assets/{key}")
            page.get_by_placeholder("Filter metadata keys").wait_for(timeout=60_000)
            page.wait_for_timeout(1000)
            found = page.evaluate(MEASURE)
            rows, cut = found["rows"], found["cut"]
            wrong = {row["key"]: found for row in rows if (found := faults(row))}
            wrong |= {"table": [f"{cut} px are cut"]} if cut else {}
            num_wrong += len(wrong)
            print(f"{key}: {len(rows)} values, {wrong or 'all fit'}", flush=True)
    print(f"console errors: {errors or 'none'}")
    return 1 if num_wrong or errors else 0


if __name__ == "__main__":
    sys.exit(main())
