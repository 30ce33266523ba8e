"""An encoder from the Hub: the mean of a code model's last hidden states, as phi-1 embedded its corpus with CodeGen.

Invariant: a text's vector is computed once and kept by its content hash; it depends on text, model, revision and the
number of tokens read, within rounding of the batch it was computed in. Needs the extra ``train``.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from codeft_assets.curation.quality import embedding
from codeft_assets.curation.quality.embedding import Embedding
from codeft_assets.origins.errors import MissingUpstreamError
from codeft_assets.origins.http_file import cache_folder

_ROWS_A_LOOKUP = 500
_TOKENIZED_TEXTS = 2048
_BYTES_A_TOKEN = 16
"""A text is cut to this many bytes a token read before it is tokenized: tokens of code are some 3 bytes long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubEncoder:
    """Reads the first ``max_tokens`` tokens of each text, in bf16 on a GPU; texts of like length share a batch."""

    model: str
    """A Hub id or a folder, for example ``Qwen/Qwen2.5-Coder-0.5B``."""
    revision: str = "main"
    """Commit of the Hub; ``main`` is pinned when the encoder is first opened."""
    num_dimensions: int
    max_tokens: int = 512
    batch_tokens: int = 16_384
    """Tokens of a batch, padding included."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dimensions, for feature tables."""
        return tuple(f"encoder_{dimension}" for dimension in range(self.num_dimensions))

    def state(self) -> dict[str, Any]:
        """Return what names the encoder; its weights stay where they come from."""
        return {
            "kind": "hub",
            "model": self.model,
            "revision": self.revision,
            "num_dimensions": self.num_dimensions,
            "max_tokens": self.max_tokens,
        }

    def vectors(self, text: pa.Array) -> npt.NDArray[np.float32]:
        """Return one unit vector per text, from the cache where it has one.

        Raises:
            MissingUpstreamError: there is no such model.
            ValueError: a vector is not finite.
        """
        texts = text.to_pylist()
        keys = [xxhash.xxh3_128_digest(one) for one in texts]
        with closing(_open_cache(self._cache_path())) as cache:
            known = dict(_read(cache, keys))
            missing = {key: one for key, one in zip(keys, texts, strict=True) if key not in known}
            for found in self._computed(missing):  # kept batch by batch: a killed run computes none twice
                _write(cache, found)
                known |= found
        return np.array([known[key] for key in keys], dtype=np.float32).reshape(len(texts), self.num_dimensions)

    def _cache_path(self) -> Path:
        name = xxhash.xxh3_64_hexdigest(repr(sorted(self.state().items())))
        return cache_folder() / "encoder" / f"{name}.sqlite"

    def _computed(self, missing: Mapping[bytes, str]) -> Iterator[dict[bytes, npt.NDArray[np.float32]]]:
        if not missing:
            return
        tokenizer, model = _loaded(self.model, self.revision)
        entries = list(missing.items())
        for start in range(0, len(entries), _TOKENIZED_TEXTS):
            part = entries[start : start + _TOKENIZED_TEXTS]
            cut = [one[: self.max_tokens * _BYTES_A_TOKEN] for _, one in part]
            ids = tokenizer(cut, truncation=True, max_length=self.max_tokens, add_special_tokens=False)["input_ids"]
            for rows in length_buckets([len(row) for row in ids], self.batch_tokens):
                vectors = _mean_pooled(model, [ids[row] for row in rows], tokenizer.pad_token_id)
                if not np.isfinite(vectors).all():
                    raise ValueError(f"encoder {self.model!r} gives vectors that are not finite; take another model")
                yield {part[row][0]: vector for row, vector in zip(rows, vectors, strict=True)}


def length_buckets(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield batches of row numbers, longest rows first, each of at most ``batch_tokens`` with its padding."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        # the first row of a batch is its longest: the others are padded to it
        if batch and (len(batch) + 1) * max(lengths[batch[0]], 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def open_encoder(model: str, *, max_tokens: int = 512) -> HubEncoder:
    """Return the encoder ``model`` at the commit it has now.

    Raises:
        MissingUpstreamError: there is no such model.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from transformers import AutoConfig

    try:
        is_folder = Path(model).is_dir()
        revision = _folder_hash(Path(model)) if is_folder else str(HfApi().model_info(model).sha)
        config = AutoConfig.from_pretrained(model, **({} if is_folder else {"revision": revision}))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise MissingUpstreamError(f"encoder {model!r} cannot be opened: {error}; name a Hub id or a folder") from error
    return HubEncoder(model=model, revision=revision, num_dimensions=config.hidden_size, max_tokens=max_tokens)


def open_embedding(state: Mapping[str, Any]) -> Embedding:
    """Return the embedding that ``state`` describes, built in or from the Hub."""
    if state["kind"] != "hub":
        return embedding.open_hashed_embedding(state)
    return HubEncoder(
        model=str(state["model"]),
        revision=str(state["revision"]),
        num_dimensions=int(state["num_dimensions"]),
        max_tokens=int(state["max_tokens"]),
    )


def _folder_hash(folder: Path) -> str:
    digest = xxhash.xxh3_128()
    for path in sorted(folder.glob("*.json")) + sorted(folder.glob("*.safetensors")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.lru_cache(maxsize=1)
def _loaded(model: str, revision: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    on_gpu = torch.cuda.is_available()
    pinned = {} if Path(model).is_dir() else {"revision": revision}
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, **pinned)
        loaded = AutoModel.from_pretrained(model, dtype=torch.bfloat16 if on_gpu else torch.float32, **pinned)
    except (OSError, ValueError) as error:
        raise MissingUpstreamError(f"encoder {model!r} cannot be loaded: {error}; name a Hub id or a folder") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, (loaded.cuda() if on_gpu else loaded).eval()


def _mean_pooled(model: Any, ids: Sequence[Sequence[int]], pad_id: int) -> npt.NDArray[np.float32]:
    import torch

    longest = max(1, *(len(row) for row in ids)) if ids else 1
    tokens = torch.full((len(ids), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(ids), longest), dtype=torch.long)
    for row, found in enumerate(ids):
        tokens[row, : len(found)] = torch.tensor(found, dtype=torch.long)
        mask[row, : len(found)] = 1
    mask[:, 0] = 1  # a row of padding alone has no attention to normalize
    tokens, mask = tokens.to(model.device), mask.to(model.device)
    with torch.inference_mode():
        states = model(input_ids=tokens, attention_mask=mask).last_hidden_state.float()
    weights = mask.unsqueeze(-1).float()
    means = (states * weights).sum(dim=1) / weights.sum(dim=1)
    is_empty = torch.tensor([len(found) == 0 for found in ids], device=means.device)
    means = torch.nn.functional.normalize(means, dim=1).masked_fill(is_empty.unsqueeze(-1), 0.0)
    return means.cpu().numpy()


# -- the cache ---------------------------------------------------------------------------------------------------------


def _open_cache(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    cache = sqlite3.connect(path, timeout=60)
    cache.execute("PRAGMA journal_mode = WAL")  # several workers read and write at a time
    cache.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID")
    return cache


def _read(cache: sqlite3.Connection, keys: Sequence[bytes]) -> Iterator[tuple[bytes, npt.NDArray[np.float32]]]:
    for start in range(0, len(keys), _ROWS_A_LOOKUP):
        part = keys[start : start + _ROWS_A_LOOKUP]
        marks = ", ".join("?" * len(part))
        statement = f"SELECT key, vector FROM vectors WHERE key IN ({marks})"  # noqa: S608  question marks only
        for key, vector in cache.execute(statement, part):
            yield key, np.frombuffer(vector, dtype=np.float32)


def _write(cache: sqlite3.Connection, found: Mapping[bytes, npt.NDArray[np.float32]]) -> None:
    rows = [(key, vector.astype(np.float32).tobytes()) for key, vector in found.items()]
    with cache:
        cache.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
