"""Peak memory of one ingest worker at rows of 3 kB, 30 kB and 300 kB, beside the setting that bounds it.

    python tests/benchmarks/ingest_memory.py [--megabytes 100] [--row-bytes 3000 30000 300000] [--json]

Each file is read by a fresh process, as a worker of the pool is: rows -> documents -> shards on disk. The rows are
exchanges, whose text is held twice, as turns and as one text. ``grown_mb`` is the peak of the process over that of an
idle worker, one that has read a file of two rows; ``times_setting`` divides it by ``WORKER_BYTES``.
"""

import argparse
import gzip
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FORMATS = ("jsonl.gz", "json", "parquet")
WORDS = [f"{random.Random(seed).getrandbits(40):x}" for seed in range(5000)]


def exchanges(row_bytes, num_rows):
    chosen = random.Random(1)
    for number in range(num_rows):
        answer = " ".join(chosen.choices(WORDS, k=row_bytes // 11))
        yield {"prompt": f"Question {number}?", "response": answer}


def write_file(path, kind, row_bytes, num_rows):
    if kind == "parquet":
        rows = exchanges(row_bytes, num_rows)
        with pq.ParquetWriter(path, pa.schema([("prompt", pa.string()), ("response", pa.string())])) as writer:
            while batch := list(itertools.islice(rows, max(8_000_000 // row_bytes, 1))):
                writer.write_table(pa.Table.from_pylist(batch, writer.schema))
        return
    is_array = kind == "json"
    with gzip.open(path, "wt", compresslevel=1) if kind.endswith("gz") else path.open("w") as file:
        for number, row in enumerate(exchanges(row_bytes, num_rows)):
            file.write(("[" if number == 0 else ",") * is_array + json.dumps(row) + "\n" * (not is_array))
        file.write("]" * is_array)


def peak_kilobytes():
    """Return the peak of this program alone: what getrusage returns includes the parent's, before the exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def read(few_rows, rows, home):
    """Ingest two folders in this process; print its peaks in kB, the shards, rows and seconds of the second."""
    ingest(few_rows, f"{home}/first")
    before, start = peak_kilobytes(), time.monotonic()
    manifest = ingest(rows, home)
    seconds = time.monotonic() - start
    print(json.dumps([before, peak_kilobytes(), len(manifest.shards), manifest.report.num_out, seconds]))


def ingest(folder, home):
    from codeft_assets.curation.ingest.row_shapes import AnyShape
    from codeft_assets.origins import FileOrigin
    from codeft_assets.source import Source
    from codeft_assets.stages.documents import documents_stage, file_units, read_documents
    from codeft_assets.store.data_root import Store
    from codeft_assets.store.engine import map_shards

    origin = FileOrigin(path=folder)
    source = Source(
        name="ours", about="Rows.", origin=origin, adapter=AnyShape(), domain="code", format="instruct",
        license="MIT", homepage="https://example.org", has_sample=False,
    )  # fmt: skip
    units = file_units(source, origin, origin.resolve(), None)
    table = Store(home).table("documents/ours")
    return map_shards(read_documents, units, table, stage=documents_stage(source, None)).manifest


def measure(kind, row_bytes, megabytes):
    from codeft_assets.curation.ingest.rows import WORKER_BYTES

    with tempfile.TemporaryDirectory() as folder:
        few, rows = Path(folder) / "few", Path(folder) / "rows"
        for place, num_rows in ((few, 2), (rows, megabytes * 1_000_000 // row_bytes)):
            place.mkdir()
            write_file(place / f"a.{kind}", kind, row_bytes, num_rows)
        command = [sys.executable, __file__, "--read", str(few), str(rows), f"{folder}/home"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, peak, num_shards, num_rows, seconds = json.loads(done.stdout.splitlines()[-1])
    grown = (peak - before) * 1024
    return {
        "format": kind,
        "row_bytes": row_bytes,
        "num_rows": num_rows,
        "num_shards": num_shards,
        "base_mb": round(before * 1024 / 1e6),
        "grown_mb": round(grown / 1e6),
        "times_setting": round(grown / WORKER_BYTES, 2),
        "mb_per_second": round(megabytes / seconds, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100, help="text in a file")
    parser.add_argument("--row-bytes", type=int, nargs="+", default=[3_000, 30_000, 300_000])
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        return read(*options.read)
    results = [measure(kind, size, options.megabytes) for size in options.row_bytes for kind in FORMATS]
    for result in results:
        print("  ".join(f"{name} {value}" for name, value in result.items()))
    if options.json:
        worst = max(result["times_setting"] for result in results)
        print(json.dumps({"results": results, "max_times_setting": worst}))
    return None


if __name__ == "__main__":
    main()
