"""The model that fine-tuning begins with, known by its content: a path or a Hub id says only where it is."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from codeft_assets.base.files import file_hash
from codeft_assets.base.hub_errors import hub_reason, is_path

_READ = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
"""Files of a Hub model that loading it reads."""
_CONTENT = ("*.safetensors", "config.json", "generation_config.json")
"""Those that a fine-tuned model is made of."""


def base_folder(base_model: str) -> Path:
    """Return the folder of a base model, downloaded first where it is a Hub id that is not in the cache.

    Raises:
        ValueError: it is no folder with a model, and the Hub does not give it.
    """
    folder = Path(base_model)
    if not folder.is_dir():
        if is_path(base_model):
            raise ValueError(f"base_model {base_model!r} does not exist; choose a model's folder")
        folder = _download(base_model)
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise ValueError(f"base_model {base_model!r} has no config.json or no *.safetensors; choose a model's folder")
    return folder


def _download(base_model: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(base_model, allow_patterns=list(_READ)))
    except (OSError, ValueError) as error:  # the hub's own errors are among them
        raise ValueError(
            f"base_model {base_model!r} is no folder, and {hub_reason(error)}; check the name, the network and HF_TOKEN"
        ) from error


def base_hash(folder: Path) -> str:
    """Return 16 hex digits over weights and configuration of a base model."""
    found = sorted({path for pattern in _CONTENT for path in folder.glob(pattern)})
    lines = [f"{path.name} {_file_hash(path, path.stat().st_ino, path.stat().st_ctime_ns)}" for path in found]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@lru_cache(maxsize=256)
def _file_hash(path: Path, inode: int, changed: int) -> str:
    del inode, changed  # a file that was written again has other ones, also where a copy keeps size and time
    return file_hash(path)
