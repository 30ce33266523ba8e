"""The corpus of the cluster's benchmark: text files of installed packages, as the tables of eight sources."""

import sys
from functools import partial
from pathlib import Path

import pyarrow as pa

from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import ShardResult, Stage, Unit, map_shards, table_units

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.dedup_scale import SOURCES, no_matches, score_all, write_files

BYTES_PER_UNIT = 8 * 2**20
LANGUAGES = {".py": "python", ".pyi": "python", ".js": "javascript", ".ts": "typescript", ".h": "c", ".c": "c"}
LANGUAGES |= {".md": "text", ".txt": "text", ".rst": "text"}


def list_files(folders, num_bytes):
    """Return the text files below ``folders``, up to ``num_bytes`` in all."""
    found, total = [], 0
    for path in (path for folder in folders for path in sorted(Path(folder).rglob("*"))):
        if path.suffix in LANGUAGES and path.is_file() and 500 < (size := path.stat().st_size) < 200_000:
            found.append((str(path), size))
            total += size
        if total > num_bytes:
            break
    return found, total


def write_unit(number, paths, source, *, is_edited):
    texts = [Path(path).read_bytes().decode("utf-8", errors="replace") for path in paths]
    if is_edited:
        texts = [f"{text}\n# one more line" if n % 10 == 0 else text for n, text in enumerate(texts)]
    for result in write_files(number, texts, source):
        ids = pa.array([f"{number:08x}{n:024x}" for n in range(len(texts))])
        language = pa.array([LANGUAGES[Path(path).suffix] for path in paths])
        rows = result.rows.set_column(0, "document_id", ids).set_column(2, "language", language)
        yield ShardResult(rows=rows, report=result.report)


def write_corpus(root, files, *, edited=()):
    store, units = Store(root), {name: [] for name in SOURCES}
    held, num_bytes = [], 0
    for n, (path, size) in enumerate(files):
        held.append(path)
        num_bytes += size
        if num_bytes > BYTES_PER_UNIT or n == len(files) - 1:
            number = sum(map(len, units.values()))
            source = SOURCES[number % len(SOURCES)]
            function = partial(write_unit, is_edited=source in edited)
            unit = Unit(name=f"{number}", fingerprint=f"{number} {source in edited}", args=(number, held, source))
            units[source].append((function, unit))
            held, num_bytes = [], 0
    for source, made in units.items():
        stage = Stage(name="documents", code_version="1")
        map_shards(made[0][0], [unit for _, unit in made], store.table(f"documents/{source}"), stage=stage)
    tables = [store.table(f"documents/{name}") for name in SOURCES]
    for key, function in (("quality/scores", score_all), ("decontamination/matches", no_matches)):
        map_shards(function, table_units(tables), store.table(key), stage=Stage(name=key, code_version="1"))
