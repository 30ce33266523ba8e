"""An encoder from the Hub: the mean of a code model's last hidden states, as phi-1 embedded its corpus with CodeGen.

Invariant: a text's vector is computed once and kept by its content hash; it depends on text, model, revision and the
number of tokens read, within rounding of the batch it was computed in. Needs the extra ``train``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from codeft_assets.base.answers import AnswerStore
from codeft_assets.base.files import folder_hash
from codeft_assets.curation.quality import embedding
from codeft_assets.curation.quality.embedding import Embedding
from codeft_assets.origins.errors import MissingUpstreamError
from codeft_assets.origins.http_file import cache_folder

_VECTOR = "vector"
VECTORS_VERSION = "1"
"""Counts up when the same text gets another vector, so that cached ones are computed again; a test compares it with the
code that computes them."""
_TOKENIZED_TEXTS = 2048
_BYTES_A_TOKEN = 16
"""A text is cut to this many bytes per token before it is tokenized: tokens of code are some 3 bytes long."""


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
        """Return the fields that identify the encoder; its weights stay on the Hub or in the folder."""
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
        with AnswerStore(self._cache_path()) as cache:
            known = cast("dict[bytes, bytes]", dict(cache.get(_VECTOR, keys)))
            missing = {key: one for key, one in zip(keys, texts, strict=True) if key not in known}
            for batch in self._computed(missing):  # stored batch by batch: a killed run computes none twice
                cache.put(_VECTOR, batch.items())
                known |= batch
        vectors = b"".join(known[key] for key in keys)
        return np.frombuffer(vectors, dtype=np.float32).reshape(len(texts), self.num_dimensions).copy()

    def _cache_path(self) -> Path:
        name = xxhash.xxh3_64_hexdigest(f"{VECTORS_VERSION} {sorted(self.state().items())}")
        return cache_folder() / "encoder" / f"{name}.sqlite"

    def _computed(self, missing: Mapping[bytes, str]) -> Iterator[dict[bytes, bytes]]:
        """Yield the vectors of one batch after another, as bytes of float32."""
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
                yield {part[row][0]: v.astype(np.float32).tobytes() for row, v in zip(rows, vectors, strict=True)}


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
        revision = _folder_revision(Path(model)) if is_folder else str(HfApi().model_info(model).sha)
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


def _folder_revision(folder: Path) -> str:
    return folder_hash(folder, [path.name for suffix in ("json", "safetensors") for path in folder.glob(f"*.{suffix}")])


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

    longest = max([1, *(len(row) for row in ids)])
    tokens = torch.full((len(ids), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(ids), longest), dtype=torch.long)
    for row, row_ids in enumerate(ids):
        tokens[row, : len(row_ids)] = torch.tensor(row_ids, dtype=torch.long)
        mask[row, : len(row_ids)] = 1
    mask[:, 0] = 1  # a row of padding alone has no attention to normalize
    tokens, mask = tokens.to(model.device), mask.to(model.device)
    with torch.inference_mode():
        states = model(input_ids=tokens, attention_mask=mask).last_hidden_state.float()
    weights = mask.unsqueeze(-1).float()
    means = (states * weights).sum(dim=1) / weights.sum(dim=1)
    is_empty = torch.tensor([len(row_ids) == 0 for row_ids in ids], device=means.device)
    means = torch.nn.functional.normalize(means, dim=1).masked_fill(is_empty.unsqueeze(-1), 0.0)
    return means.cpu().numpy()
