"""Deduplication beside its peers and the cost of reading: CPU time, memory, recall, and removals nobody can defend.

    python tests/benchmarks/dedup.py [--megabytes 80] [--json]

The corpus is this machine's installed packages with planted duplicates of measured similarity. Every tool runs in a
process of its own; its CPU time is what it and its children use once its libraries and the texts are loaded (ours and
the floor read the file within that time). Peers (extra ``peers``) that are not installed are named and left out.
"""

import argparse
import importlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from codeft_assets.curation.dedup.candidates import candidate_pairs
from codeft_assets.curation.dedup.deduplicate import DedupParams, deduplicate
from codeft_assets.curation.dedup.minhash import MinHashParams, compute_signatures
from codeft_assets.curation.dedup.shingle_sets import jaccard
from codeft_assets.curation.documents import content_hash
from codeft_assets.stages.texts import text_column

BINS = (0.95, 0.90, 0.85, 0.80)
KINDS = ("exact", "white space", "words", "words", "block", "block")
NUM_OTHERS = 150  # programs of another meaning, and pairs of texts without spaces
PLANTED_SHARE = 0.09  # of the corpus, as in the corpus that the published peer figures were measured on
_WORD = re.compile(r"[\u4e00-\u9fff]|[a-z0-9_\x80-\u4dff\ua000-\U0010ffff]+")


def shingles(text):
    words = _WORD.findall(text.lower())
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def similarity(left, right):
    a, b = shingles(left), shingles(right)
    return len(a & b) / len(a | b) if a | b else 0.0


def installed_files(num_bytes):
    texts, total = [], 0
    for path in sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.py")):
        content = path.read_bytes()
        if 500 < len(content) < 200_000:
            texts.append(content.decode("utf-8", errors="replace"))
            total += len(content)
        if total > num_bytes:
            break
    return texts


def scatter(text, fraction, rng):
    """Replace a fraction of the words, one here and one there."""
    return re.sub(r"\w+", lambda m: f"edit{rng.randrange(10**6)}" if rng.random() < fraction else m[0], text)


def swap_block(text, fraction, rng):
    """Replace one contiguous part by other words."""
    words = text.split(" ")
    size = int(len(words) * fraction)
    at = rng.randrange(max(len(words) - size, 1))
    return " ".join([*words[:at], *(f"other{rng.randrange(10**6)}" for _ in range(size)), *words[at + size :]])


def plant(texts, num_planted, rng):
    """Return (original, planted text, similarity, kind): copies, and two kinds of edits from none to many."""
    long = [i for i, text in enumerate(texts) if 200 < len(text.split()) < 4000]
    planted = []
    for number in range(num_planted):
        i = rng.choice(long)
        kind = KINDS[number % len(KINDS)]
        if kind == "exact":
            copy = texts[i]
        elif kind == "white space":
            copy = re.sub(r"[ \t]*\n", "\r\n\n", texts[i])
        elif kind == "words":
            copy = scatter(texts[i], rng.uniform(0.0, 0.04), rng)
        else:
            copy = swap_block(texts[i], rng.uniform(0.0, 0.2), rng)
        planted.append((i, copy, similarity(texts[i], copy), kind))
    return planted


OTHER_OPERATORS = {" < ": " > ", " + ": " - ", " == ": " != ", " += ": " = ", " and not (": " and ("}
CHINESE = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产"


def other_operator(text, rng):
    """Turn one operator of a program into another, or None if it has none of them."""
    places = [(at.start(), old) for old in OTHER_OPERATORS for at in re.finditer(re.escape(old), text)]
    if not places:
        return None
    at, old = rng.choice(places)
    return text[:at] + OTHER_OPERATORS[old] + text[at + len(old) :]


def other_level(text, rng):
    """Move the return at the end of a block out of it, or None if there is none."""
    places = list(re.finditer(r"\n(        +)(return\b[^\n:(),]*)\n(?=(?!\1) *\w)", text))
    if not places:
        return None
    at = rng.choice(places)
    return text[: at.start(1)] + text[at.start(1) + 4 :]


def plant_wrong(texts, num_planted, rng):
    """Return (original, another program, its language): one operator, one level, or the language is another."""
    planted = []
    for number in range(num_planted):
        i = rng.randrange(len(texts))
        kind, language = number % 3, "python"
        changed = (other_operator, other_level, lambda text, rng: text + "\n// end")[kind](texts[i], rng)
        if changed is not None and changed != texts[i]:
            planted.append((i, changed, "javascript" if kind == 2 else language))
    return planted


def plant_chinese(num_planted, rng):
    """Return pairs of texts without spaces, and their similarity by characters: 2 % of them are others."""
    pairs = []
    for _ in range(num_planted):
        text = "".join(rng.choices(CHINESE, k=600))
        edited = "".join(rng.choice(CHINESE) if rng.random() < 0.005 else char for char in text)
        grams = [{line[i : i + 5] for i in range(len(line) - 4)} for line in (text, edited)]
        pairs.append((text, edited, len(grams[0] & grams[1]) / len(grams[0] | grams[1])))
    return pairs


def floor(folder):
    """Read and hash all bytes: nothing that looks at the text can be cheaper."""
    table = pq.read_table(folder / "texts.parquet", use_threads=False)
    return [xxhash.xxh3_64_intdigest(value.as_buffer()) for value in table["text"]]


def ours(folder):
    """Read, sign, cluster and verify; the content's hash is stored beside the text when a document is read."""
    table = pq.read_table(folder / "texts.parquet", use_threads=False)
    text, given = text_column(table), pl.read_parquet(folder / "hashes.parquet")
    rows = pl.DataFrame(
        {
            "document_id": pl.arange(len(text), dtype=pl.UInt32, eager=True),
            "content_hash": given["content_hash"],
            "language": given["language"],
            "priority": np.ones(len(text), dtype=np.int32),
            "educational_value": np.zeros(len(text), dtype=np.float32),
            "num_chars": pl.Series(text).str.len_bytes(),
        }
    ).hstack(compute_signatures(text, MinHashParams()))

    def texts_of(wanted):
        yield np.arange(len(wanted)), text.take(pa.array(wanted))

    return deduplicate(rows, lambda band: rows[f"band_{band}"].to_numpy(), texts_of, DedupParams()).clusters


def with_rensa(texts):
    import rensa

    index = rensa.RMinHashLSH(threshold=0.7, num_perm=112, num_bands=14)
    removed = set()
    for i, text in enumerate(texts):
        words = _WORD.findall(text.lower())
        sketch = rensa.RMinHash(num_perm=112, seed=1)
        sketch.update([" ".join(words[j : j + 5]) for j in range(len(words) - 4)])
        if index.query(sketch):
            removed.add(i)
        index.insert(i, sketch)
    return removed


def with_datasketch(texts):
    import datasketch

    index = datasketch.MinHashLSH(num_perm=112, params=(14, 8))
    removed = set()
    for i, text in enumerate(texts):
        sketch = datasketch.MinHash(num_perm=112)
        sketch.update_batch([" ".join(shingle).encode() for shingle in shingles(text)])
        if index.query(sketch):
            removed.add(i)
        index.insert(str(i), sketch)
    return removed


def with_daft(texts):
    import daft

    frame = daft.from_pydict({"text": texts})
    normalized = daft.col("text").normalize(lowercase=True, remove_punct=True, white_space=True)
    sketches = frame.select(normalized.minhash(num_hashes=112, ngram_size=5, seed=1).alias("m")).to_pydict()["m"]
    removed = set()
    for band in range(14):
        seen = {}
        for i, sketch in enumerate(sketches):
            key = tuple(sketch[band * 8 : band * 8 + 8])
            if seen.setdefault(key, i) != i:
                removed.add(i)
    return removed


def with_text_dedup(texts):
    from text_dedup import minhash as tool
    from text_dedup.utils import IOArgs, MetaArgs, MinHashArgs

    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in.jsonl", Path(folder) / "out"
        source.write_text("".join(json.dumps({"text": text, "id": i}) + "\n" for i, text in enumerate(texts)))
        tool.main.callback(
            io_args=IOArgs(
                path="json", data_files=str(source), split="train", cache_dir=folder, output=str(output), num_proc=1
            ),
            meta_args=MetaArgs(column="text", batch_size=10_000),
            minhash_args=MinHashArgs(num_perm=112, b=14, r=8, hash_func="xxh3"),
        )
        import datasets

        kept = set(datasets.load_from_disk(str(output))["id"])
    return set(range(len(texts))) - kept


def with_datatrove(texts):
    """Its four stages with its own word tokenizer."""
    from datatrove.data import Document
    from datatrove.pipeline.dedup import minhash as tool
    from datatrove.utils.hashing import HashConfig

    config = tool.MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64))
    documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        signed, bucketed, removed = f"{folder}/signatures", f"{folder}/buckets", f"{folder}/remove"
        tool.MinhashDedupSignature(signed, config).run(documents, 0, 1)
        for bucket in range(14):
            tool.MinhashDedupBuckets(signed, bucketed, config=config).run(None, bucket, 14)
        tool.MinhashDedupCluster(bucketed, removed, config=config).run(None, 0, 1)
        kept = {int(document.id) for document in tool.MinhashDedupFilter(removed).run(iter(documents), 0, 1)}
    return set(range(len(texts))) - kept


def with_dedup_rs(texts):
    import dedup_rs

    rows = np.arange(len(texts), dtype=np.uint32)
    index = dedup_rs.EmbedFunc.from_b_r(14, 8, 5, 112, "text", "id", "u64", 5)
    index.batch_embed_shard(texts, rows)
    return set(range(len(texts))) - set(index.filter_duplicates(index.cluster(), rows))


PEERS = {
    "rensa": with_rensa,
    "dedup_rs": with_dedup_rs,
    "datasketch": with_datasketch,
    "daft": with_daft,
    "text_dedup": with_text_dedup,
    "datatrove": with_datatrove,
}


def cpu_seconds():
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_megabytes():
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(peaks) * 1024 / 1e6


def measure(name, folder):
    """Run one tool in this process; print what it cost and removed as the last line."""
    clusters = None
    if name in PEERS:
        importlib.import_module(name)
        texts = pq.read_table(folder / "texts.parquet")["text"].to_pylist()
        start = cpu_seconds()
        removed = PEERS[name](texts)
        seconds = cpu_seconds() - start
    else:
        run = {"floor": floor, "codeFT": ours}[name]
        found = run(folder)  # compiles the kernels
        times = []
        for _ in range(15):  # the least of many: other programs on the machine only add
            start = cpu_seconds()
            found = run(folder)
            times.append(cpu_seconds() - start)
        seconds, removed = min(times), []
        if name == "codeFT":
            clusters = found.to_dict(as_series=False)
            removed = {int(i) for i in clusters["document_id"]}
    result = {"seconds": seconds, "peak": peak_megabytes(), "removed": sorted(removed), "clusters": clusters}
    print(json.dumps(result))


def in_a_process_of_its_own(name, folder):
    command = [sys.executable, __file__, "--tool", name, "--folder", str(folder)]
    environment = os.environ | {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        print(f"{name:<12} did not run: {(done.stderr.strip().splitlines() or ['no message'])[-1][:100]}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def recall_by_similarity(planted, first, removed):
    found = {}
    for low, high in zip(BINS, (1.01, *BINS), strict=False):
        pairs = [(row[0], first + n) for n, row in enumerate(planted) if low <= row[2] < high]
        resolved = sum(1 for pair in pairs if removed & set(pair))
        found[f"{low:.2f}"] = round(resolved / len(pairs), 4) if pairs else None
    return found


def recall_of_copies(planted, first, removed):
    pairs = [(row[0], first + n) for n, row in enumerate(planted) if row[3] in {"exact", "white space"}]
    return round(sum(1 for pair in pairs if removed & set(pair)) / len(pairs), 4)


def with_a_neighbor(texts, threshold):
    """Return the documents that are similar to any other, by signatures so sensitive that they miss one in 10^7."""
    text, params = pa.array(texts, pa.large_string()), MinHashParams(num_bands=40, rows_per_band=3, seed=7)
    signed = compute_signatures(text, params)
    rows = (signed["num_shingles"] > 0).arg_true().to_numpy().astype(np.int64)
    later, earlier = candidate_pairs(rows, lambda band: signed[f"band_{band}"].to_numpy(), params.num_bands)
    similar = jaccard(text, rows[later], rows[earlier], params.shingle_words) >= threshold
    return set(rows[later[similar]].tolist()) | set(rows[earlier[similar]].tolist())


def unsupported_removals(clusters, texts):
    """Count the removed documents that are not similar to their kept one, by Python sets."""
    removed, count = set(clusters["document_id"]), 0
    for document, representative in zip(clusters["document_id"], clusters["representative_id"], strict=True):
        same = content_hash(texts[int(document)]) == content_hash(texts[int(representative)])
        count += representative in removed or not (
            same or similarity(texts[int(document)], texts[int(representative)]) >= 0.7
        )
    return count


def build(num_bytes, folder):
    rng = random.Random(1)
    base = installed_files(num_bytes)
    planted = plant(base, int(len(base) * PLANTED_SHARE), rng)
    wrong, chinese = plant_wrong(base, NUM_OTHERS, rng), plant_chinese(NUM_OTHERS, rng)
    texts = [*base, *(row[1] for row in planted), *(row[1] for row in wrong), *(t for row in chinese for t in row[:2])]
    languages = ["python"] * (len(base) + len(planted)) + [row[2] for row in wrong] + ["text"] * 2 * len(chinese)
    pq.write_table(pa.table({"text": pa.array(texts, pa.large_string())}), folder / "texts.parquet", compression="zstd")
    hashes = [content_hash(text) for text in texts]
    pl.DataFrame({"content_hash": hashes, "language": languages}).write_parquet(folder / "hashes.parquet")
    return base, planted, wrong, chinese, texts


def wrong_removals(clusters, first, wrong):
    """Count removals of another program in favor of the one it was made of, or the reverse."""
    pairs = set(zip(clusters["document_id"], clusters["representative_id"], strict=True))
    made = [(first + number, row[0]) for number, row in enumerate(wrong)]
    return sum((a, b) in pairs or (b, a) in pairs for a, b in made)


def recall_of_chinese(chinese, first, removed):
    """Return the share of pairs of 0.9 similarity or more of which one was removed."""
    near = [first + 2 * number for number, row in enumerate(chinese) if row[2] >= 0.9]
    return round(sum(bool({at, at + 1} & removed) for at in near) / len(near), 4) if near else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=80)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--tool", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tool:
        measure(options.tool, options.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        compare(options, Path(name))


def compare(options, folder):
    base, planted, wrong, chinese, texts = build(options.megabytes * 1e6, folder)
    size = sum(len(text.encode()) for text in texts)
    in_a_process_of_its_own("codeFT", folder)  # compiles the kernels, which takes memory
    lowest, mine = (in_a_process_of_its_own(name, folder) for name in ("floor", "codeFT"))
    unsupported = unsupported_removals(mine["clusters"], texts)
    neighbors = with_a_neighbor(texts, 0.7)
    exact = {name for name, count in _counts(texts).items() if count > 1}
    defensible = neighbors | {i for i, text in enumerate(texts) if content_hash(text) in exact}
    print(f"{len(texts):,} documents, {size / 1e6:.1f} MB, {len(planted)} planted; floor: read and hash all bytes")
    print(
        f"{'tool':<12} {'CPU-s':>8} {'/ ours':>7} {'peak MB':>8} {'removed':>8} {'precise':>8} {'copies':>7}"
        f"  recall by similarity"
    )

    def show(tool, run):
        removed = set(run["removed"])
        precise = f"{len(removed & defensible) / len(removed):.3f}" if removed else ""
        copies = recall_of_copies(planted, len(base), removed) if removed else ""
        recall = recall_by_similarity(planted, len(base), removed) if removed else ""
        print(
            f"{tool:<12} {run['seconds']:>8.2f} {run['seconds'] / mine['seconds']:>7.2f} {run['peak']:>8.0f} "
            f"{len(removed):>8} {precise:>8} {copies:>7}  {recall}"
        )

    show("floor", lowest)
    show("codeFT", mine)
    peers, peaks = {}, {}
    for tool in PEERS:
        if run := in_a_process_of_its_own(tool, folder):
            peers[tool] = round(run["seconds"] / mine["seconds"], 2)
            peaks[tool] = round(run["peak"])
            show(tool, run)
    result = {
        "cpu_ratio_to_floor": round(mine["seconds"] / lowest["seconds"], 2),
        "recall": recall_by_similarity(planted, len(base), set(mine["removed"])),
        "recall_of_copies": recall_of_copies(planted, len(base), set(mine["removed"])),
        "unsupported_removals": unsupported,
        "peers": peers,
        "peak_mb": {"codeFT": round(mine["peak"])} | peaks,
        "mb_per_cpu_second": round(size / 1e6 / mine["seconds"], 1),
    }
    first = len(base) + len(planted)
    result["wrong_removals"] = wrong_removals(mine["clusters"], first, wrong)
    result["num_other_programs"] = len(wrong)
    result["recall_of_chinese"] = recall_of_chinese(chinese, first + len(wrong), set(mine["removed"]))
    print(f"ratio to the floor {result['cpu_ratio_to_floor']}, removals below the threshold {unsupported}")
    print("precise: share of the removed documents that are similar to any other at 0.7 or more")
    if options.json:
        print(json.dumps(result))


def _counts(texts):
    counts = {}
    for text in texts:
        key = content_hash(text)
        counts[key] = counts.get(key, 0) + 1
    return counts


if __name__ == "__main__":
    main()
