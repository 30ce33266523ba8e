"""A checkpoint folder: its hash, how completions are made from it, and the model in it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codeft_assets.base.files import file_hash
from codeft_eval.generation.decoding import Decoding
from codeft_eval.generation.engines import ENGINES

MAX_LIKELIHOOD_ROWS = 64
"""Rows of one forward for likelihoods, which keeps the logits of all tokens."""
MAX_LIKELIHOOD_TOKENS = 16_384
"""Tokens of such a forward, with the padding: 10 GB of float32 logits for a vocabulary of 152,000."""
CHECKPOINT_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSettings:
    """Settings of generation; all of them are part of a score's identity."""

    batch_size: int = 16
    """Batch size changes greedy text on a GPU, so it is fixed and recorded."""
    dtype: str = "float32"
    device: str = "cpu"
    max_new_tokens: int
    stops: tuple[str, ...]
    engine: str = "batches"
    """Batches, graphs: the same text in every run; graphs, continuous: a row that ends makes room for a prompt."""
    num_samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end a completion: the model's ends of a text and of a chat's turn."""
    add_special_tokens: bool | None = None
    """Whether the tokenizer puts its own special tokens around a prompt; a chat template has written them. None: as
    the tokenizer does."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.num_samples < 1:
            raise ValueError(
                f"batch_size {self.batch_size}, num_samples {self.num_samples}: at least one prompt a batch and one "
                "sample an item; give positive numbers"
            )
        if self.engine not in ENGINES:
            raise ValueError(f"engine {self.engine!r} is not one of {sorted(ENGINES)}")
        if self.num_samples > 1 and not self.temperature:
            raise ValueError(f"{self.num_samples} samples at temperature 0 are one sample; give a temperature")
        if self.temperature and self.engine == "continuous":
            raise ValueError("engine 'continuous' draws no samples; use 'graphs' or 'batches', or temperature 0")
        self.decoding()

    @property
    def likelihood_batch_size(self) -> int:
        """Rows of one forward for likelihoods; batches for generation can be much larger."""
        return min(self.batch_size, MAX_LIKELIHOOD_ROWS)

    def decoding(self) -> Decoding:
        """Return the part that selects tokens."""
        names = ("stops", "temperature", "top_p", "seed", "batch_size", "stop_token_ids")
        return Decoding(**{name: getattr(self, name) for name in names})

    def plain(self) -> dict[str, Any]:
        """Return the settings as JSON-ready values."""
        return asdict(self) | {"stops": list(self.stops), "stop_token_ids": list(self.stop_token_ids)}


def checkpoint_hash(folder: Path) -> str:
    """Return a hash of every file in a checkpoint folder that decides the model's output.

    Raises:
        ValueError: the folder is no checkpoint.
    """
    names = sorted({path for pattern in CHECKPOINT_FILES for path in folder.glob(pattern)})
    if not any(path.suffix == ".safetensors" for path in names) or not (folder / "config.json").is_file():
        raise ValueError(
            f"checkpoint {str(folder)!r} has no config.json with *.safetensors; give one that save_pretrained wrote"
        )
    digest = hashlib.sha256()
    for path in names:
        digest.update(f"{path.name}\0{file_hash(path)}\n".encode())
    return digest.hexdigest()


def has_chat_template(folder: Path) -> bool:
    """Return whether the tokenizer in a checkpoint folder brings a chat template; no library is loaded."""
    settings = folder / "tokenizer_config.json"
    in_settings = settings.is_file() and json.loads(settings.read_text(encoding="utf-8")).get("chat_template")
    return bool(in_settings) or (folder / "chat_template.jinja").is_file()


def load_language_model(folder: Path, settings: GenerationSettings) -> Any:
    """Return the checkpoint as lm-eval's ``HFLM``, loaded without any network.

    cuDNN's attention is turned off for the process: on an H200 a second run gave one completion in seven again with it,
    and all of them with PyTorch's own (tests/benchmarks/generation.py, with and without --cudnn).
    """
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    import torch
    from lm_eval.models.huggingface import HFLM

    torch.backends.cuda.enable_cudnn_sdp(False)
    # it warns of a context that is exceeded, and counts the padding in front of a short prompt
    logging.getLogger("transformers.generation.stopping_criteria").setLevel(logging.ERROR)
    options = {"batch_size": settings.likelihood_batch_size, "dtype": settings.dtype, "device": settings.device}
    model: Any = HFLM
    return model(pretrained=str(folder), **options)
