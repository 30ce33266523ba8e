"""Follows documents of every fate through the tables and checks each claim with plain Python, up to 20 of a fate.

    CODEFT_HOME=.codeft python tests/benchmarks/fates.py [--json]

What is checked: the trace names the ledger's fate; a duplicate's kept one is itself kept and as similar as it is said
to be; a contaminated document holds words of the item's text; a rule's value lies outside its bounds; a value below a
minimum is below it; what is kept is in the mixture, what is over the budget is not; a reject has its row and reason;
and rows in = documents + rejects for every source.
"""

import argparse
import json
import os
import re

import polars as pl

from codeft_assets.curation.decontamination.overlaps import add_full_tasks
from codeft_assets.store.data_root import Store
from codeft_assets.trace import trace_document

NUM_OF_EACH = 20
DUPLICATES = {"exact_duplicate", "near_duplicate"}


def shingles(text, width):
    words = re.findall(r"[a-z0-9_\x80-\U0010ffff]+", text.lower())
    return {tuple(words[i : i + width]) for i in range(len(words) - width + 1)}


def is_true_duplicate(row, texts, fates, clusters):
    found = clusters[row["document_id"]]
    kept = found["representative_id"]
    if fates[kept] != "kept":
        return False
    if row["fate"] == "exact_duplicate":
        return texts[kept] == texts[row["document_id"]] or found["jaccard"] < 1
    a, b = shingles(texts[kept], 5), shingles(texts[row["document_id"]], 5)
    return abs(len(a & b) / len(a | b) - found["jaccard"]) < 0.02 and found["jaccard"] >= 0.7


def is_true_contamination(row, texts, matches, items):
    for match in matches[row["document_id"]]:
        key = (match["benchmark"], match["task_id"], match["field"])
        if match["view"] == "document" or shingles(items[key], 2) & shingles(texts[row["document_id"]], 2):
            return True
    return False


def is_outside(detail):
    """Return whether the value that a detail names lies outside the bounds that it names."""
    if bounds := re.search(r"= (\S+) is outside \[(\S+), (\S+)\]", detail):
        value, low, high = (float(part) for part in bounds.groups())
        return not low <= value <= high
    if minimum := re.search(r"= (\S+) is below the source's minimum (\S+)", detail):
        return float(minimum[1]) < float(minimum[2]) + 1e-4  # both are rounded to four digits
    return bool(re.search(r"natural_language = \w+ is none of", detail))


class Tables:
    """All that a claim of the ledger is about, in memory: for a data root of some 100,000 documents."""

    def __init__(self, store):
        self.store, self.documents = store, [table for table in store.tables() if table.key.startswith("documents/")]
        documents = pl.concat([table.scan().select("document_id", "text").collect() for table in self.documents])
        self.texts, self.ledger = dict(documents.iter_rows()), store.table("corpus/ledger").read()
        self.fates = dict(self.ledger.select("document_id", "fate").iter_rows())
        self.clusters = {row["document_id"]: row for row in store.table("dedup/clusters").read().to_dicts()}
        self.matches = {}
        for match in store.table("decontamination/matches").read().to_dicts():
            self.matches.setdefault(match["document_id"], []).append(match)
        items = add_full_tasks(store.table("decontamination/benchmark_texts").read())
        self.items = {(row["benchmark"], row["task_id"], row["field"]): row["text"] for row in items.to_dicts()}
        self.mixed = set(store.table("corpus/mixture").read(["document_id"])["document_id"])


def is_true(row, tables):
    story = list(trace_document(tables.store, row["document_id"]))
    if f"  fate: {row['fate']}" not in story or (row["document_id"] in tables.mixed) != (row["fate"] == "kept"):
        return False
    if row["fate"] in DUPLICATES:
        return is_true_duplicate(row, tables.texts, tables.fates, tables.clusters)
    if row["fate"] == "contaminated":
        return is_true_contamination(row, tables.texts, tables.matches, tables.items)
    return row["fate"] in {"kept", "over_budget"} or is_outside(row["detail"])


def follow(tables):
    result = {}
    for (fate,), part in tables.ledger.sort("document_id").group_by("fate", maintain_order=True):
        chosen = part.sample(min(NUM_OF_EACH, part.height), seed=1).to_dicts()
        false = [row["document_id"] for row in chosen if not is_true(row, tables)]
        result[fate] = {"documents": part.height, "followed": len(chosen), "true": len(chosen) - len(false)}
        for name in false:
            print(f"{fate}: {name} is not what the ledger says")
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    wants_json = parser.parse_args().json
    tables = Tables(Store(os.environ["CODEFT_HOME"]))
    result = follow(tables)
    result["rejected"] = follow_rejects(tables.store, tables.documents)
    result["rows_unaccounted_for"] = sum(unaccounted(table) for table in tables.documents)
    for fate, counts in result.items():
        print(f"{fate:24} {counts}")
    if wants_json:
        print(json.dumps(result))


def follow_rejects(store, tables):
    found = [
        row for table in tables if table.manifest().rejects for row in table.scan(rejects=True).collect().to_dicts()
    ]
    chosen = found[:: max(len(found) // NUM_OF_EACH, 1)][:NUM_OF_EACH]
    true = sum(f"  reason: {row['reason']}" in list(trace_document(store, row["document_id"])) for row in chosen)
    return {"documents": len(found), "followed": len(chosen), "true": true}


def unaccounted(table):
    report = table.manifest().report
    num_rejects = table.scan(rejects=True).select(pl.len()).collect().item() if table.manifest().rejects else 0
    return abs(report.num_in - report.num_out - num_rejects) + abs(report.num_out - table.manifest().num_rows)


if __name__ == "__main__":
    main()
