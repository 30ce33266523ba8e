"""Peak memory and CPU seconds of tokenizer training and of packing as the corpus grows.

    python tests/benchmarks/corpus_scale.py [--megabytes 100 1000] [--output corpus_scale.json]

Documents are stretches of about 2 kB of the Python files installed here; each copy after the first has other names in
it, so that the corpus has as many new words as new text. Each command runs in a process of its own, whose peak memory
and CPU time the kernel reports; pages of memory-mapped files count as memory.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))


SHARD_BYTES, DOCUMENT_BYTES = 32_000_000, 2_000


def documents(num_bytes):
    """Yield texts of ``num_bytes`` in all."""
    paths = sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.py"))
    copy = total = 0
    while total < num_bytes:
        for path in paths:
            for text in stretches(path.read_bytes().decode("utf-8", errors="replace"), copy):
                yield text
                total += len(text.encode())
            if total >= num_bytes:
                return
        copy += 1


def stretches(text, copy):
    for at in range(0, len(text), DOCUMENT_BYTES):
        part = text[at : at + DOCUMENT_BYTES]
        for word in sorted({word for word in part.split() if word.isidentifier()})[:8] if copy else ():
            part = part.replace(word, f"{word}_{chr(97 + copy % 26)}{hash(word) % 997}")
        if part.strip():
            yield part


def make_corpus(folder, num_bytes):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.training.corpus_folder import SCHEMA, row

    folder.mkdir()
    shards, rows, size = [], [], 0

    def write():
        path = f"{len(shards)}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / path)
        shards.append({"path": path, "num_rows": len(rows), "content_hash": "", "unit": path})

    for number, text in enumerate(documents(num_bytes)):
        rows.append(row(number, text, None, "train" if number % 500 else "validation", 1, "code"))
        size += len(text.encode())
        if size > SHARD_BYTES:
            write()
            rows, size = [], 0
    write()
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "content_hash": str(num_bytes), "shards": shards}))
    return sum(shard["num_rows"] for shard in shards)


def measured(*arguments):
    """Run a command of ``codeft_training`` and return what it used."""
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "codeft_training", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments} ended with status {status}")
    return {
        "peak_megabytes": round(usage.ru_maxrss / 1e3),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "seconds": round(time.monotonic() - start, 1),
    }


def measure(megabytes, folder):
    # in a process of its own: what a child is reported to use is at least what its parent does
    made = subprocess.run(
        [sys.executable, __file__, "--make", str(folder / "corpus"), "--megabytes", str(megabytes)],
        check=True, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "0"},
    )  # fmt: skip
    corpus, tokenizer = ("--corpus", str(folder / "corpus")), str(folder / "tokenizer")
    return {
        "num_documents": int(made.stdout),
        "tokenizer": measured("tokenizer", *corpus, "--output", tokenizer, "--set", "vocab_size=8192"),
        "packing": measured("pack", *corpus, "--tokenizer", tokenizer, "--output", str(folder / "packed")),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--output", type=Path, default=Path("corpus_scale.json"))
    parser.add_argument("--make", type=Path, help="only make the corpus, here")
    options = parser.parse_args()
    if options.make:
        print(make_corpus(options.make, options.megabytes[0] * 1_000_000))
        return
    results = {}
    for megabytes in options.megabytes:
        with tempfile.TemporaryDirectory() as folder:
            results[f"{megabytes} MB"] = measure(megabytes, Path(folder))
        print(megabytes, "MB", json.dumps(results[f"{megabytes} MB"]), flush=True)
        options.output.write_text(json.dumps({"command": " ".join(sys.argv), "results": results}, indent=1))


if __name__ == "__main__":
    main()
