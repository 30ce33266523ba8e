"""Deduplication beside its peers and the cost of reading: ratios of CPU time, recall, and removals nobody can defend.

    PYTHONPATH=. python tests/benchmarks/dedup.py [--megabytes 40] [--json]

The corpus is this machine's installed packages with planted duplicates of measured similarity. Peers (extra ``peers``)
that are not installed are named and left out.
"""

import argparse
import importlib.util
import io
import json
import random
import re
import sysconfig
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from codeft_assets.curation.dedup import DedupParams, deduplicate
from codeft_assets.curation.documents import content_hash
from codeft_assets.curation.minhash import MinHashParams, signatures

BINS = (0.95, 0.90, 0.85, 0.80)
_WORD = re.compile(r"[a-z0-9_\x80-\U0010ffff]+")


def shingles(text):
    words = _WORD.findall(text.lower())
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def jaccard(left, right):
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
    """Return (original, planted text, similarity): exact and white-space copies, and two kinds of edits by level."""
    long = [i for i, text in enumerate(texts) if 200 < len(text.split()) < 4000]
    planted = []
    for number in range(num_planted):
        i = rng.choice(long)
        kind = number % 6
        if kind == 0:
            copy = texts[i]
        elif kind == 1:
            copy = re.sub(r"[ \t]*\n", "\r\n\n", texts[i])
        elif kind in {2, 3}:
            copy = scatter(texts[i], rng.uniform(0.0, 0.04), rng)
        else:
            copy = swap_block(texts[i], rng.uniform(0.0, 0.2), rng)
        planted.append((i, copy, jaccard(texts[i], copy)))
    return planted


def cpu(call):
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


def ours(table, hashes):
    """Sign, cluster and verify; ``hashes`` are of the content, stored when a document is read."""
    text = table["text"].combine_chunks()
    rows = pl.DataFrame(
        {
            "document_id": [f"{i:08d}" for i in range(len(text))],
            "content_hash": hashes,
            "priority": np.ones(len(text), dtype=np.int32),
            "educational_value": np.zeros(len(text), dtype=np.float32),
            "num_chars": pl.Series(text).str.len_bytes(),
        }
    ).hstack(signatures(text, MinHashParams()))

    def texts_of(ids):
        yield np.arange(len(ids)), text.take(ids.cast(pl.Int64).to_arrow())

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


PEERS = {"rensa": with_rensa, "datasketch": with_datasketch, "daft": with_daft}


def recall_by_similarity(planted, first, removed):
    found = {}
    for low, high in zip(BINS, (1.01, *BINS), strict=False):
        pairs = [(i, first + n) for n, (i, _, value) in enumerate(planted) if low <= value < high]
        resolved = sum(1 for pair in pairs if removed & set(pair))
        found[f"{low:.2f}"] = round(resolved / len(pairs), 4) if pairs else None
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=40)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng = random.Random(1)
    base = installed_files(options.megabytes * 1e6)
    planted = plant(base, 600, rng)
    texts = [*base, *(copy for _, copy, _ in planted)]
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": pa.array(texts, pa.large_string())}), buffer, compression="zstd")
    size = sum(len(text.encode()) for text in texts)
    hashes = [content_hash(text) for text in texts]

    def floor():
        table = pq.read_table(io.BytesIO(buffer.getvalue()), use_threads=False)
        return [xxhash.xxh3_64_intdigest(value.as_buffer()) for value in table["text"]]

    def whole():
        return ours(pq.read_table(io.BytesIO(buffer.getvalue()), use_threads=False), hashes)

    whole()  # compiles the kernels
    floor_seconds = min(cpu(floor)[1] for _ in range(3))
    results = [cpu(whole) for _ in range(3)]
    clusters, seconds = results[0][0], min(result[1] for result in results)
    removed = {int(i) for i in clusters["document_id"]}
    unsupported = sum(
        int(row["representative_id"]) in removed
        or (
            row["kind"] == "near_duplicate"
            and jaccard(texts[int(row["document_id"])], texts[int(row["representative_id"])]) < 0.7
        )
        for row in clusters.iter_rows(named=True)
    )
    recall = recall_by_similarity(planted, len(base), removed)
    peers = {}
    print(f"{len(texts):,} documents, {size / 1e6:.1f} MB; floor (read + hash) {floor_seconds:.2f} CPU-s")
    print(f"{'tool':<12} {'CPU-s':>8} {'/ ours':>7} {'removed':>8}  recall by similarity")
    print(f"{'codeFT':<12} {seconds:>8.2f} {1:>7.1f} {len(removed):>8}  {recall}")
    for name, run in PEERS.items():
        if importlib.util.find_spec(name) is None:
            print(f"{name:<12} is not installed")
            continue
        gone, peer_seconds = cpu(lambda run=run: run(texts))
        peers[name] = round(peer_seconds / seconds, 2)
        found = recall_by_similarity(planted, len(base), gone)
        print(f"{name:<12} {peer_seconds:>8.2f} {peers[name]:>7.1f} {len(gone):>8}  {found}")
    result = {
        "cpu_ratio_to_floor": round(seconds / floor_seconds, 2),
        "recall": recall,
        "unsupported_removals": unsupported,
        "peers": peers,
        "mb_per_cpu_second": round(size / 1e6 / seconds, 1),
    }
    print(f"ratio to the floor {result['cpu_ratio_to_floor']}, removals below the threshold {unsupported}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
