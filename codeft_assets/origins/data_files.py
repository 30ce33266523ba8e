"""The data files of a dataset's splits, as ``datasets`` itself resolves them: by patterns, card or file names.

Of several formats the one is read that most files have. Invariant: nothing is requested. ``datasets`` is given the
repository's listing as a file system of references, and no pattern of a card leads out of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from glob import has_magic
from typing import TYPE_CHECKING, Any

from codeft_assets.origins.table_rows import is_table

if TYPE_CHECKING:
    from datasets import DownloadConfig
    from huggingface_hub import DatasetCardData

_NOT_DATA = frozenset({"dataset_infos.json", "dataset_info.json", "state.json", "requirements.txt", "license.txt"})
_REPOSITORY = "reference://"
"""fsspec's protocol for files that are known by name; the base path of every pattern."""


def is_data_file(path: str) -> bool:
    """True for a file in a format that is read; a script named ``train.py`` must not decide where the splits are."""
    name = path.rsplit("/", 1)[-1]
    return (is_table(name) or name.lower().endswith(".txt")) and name.lower() not in _NOT_DATA


def resolve_splits(
    paths: Iterable[str],
    card_data: DatasetCardData | None,
    *,
    config: str | None,
    splits: tuple[str, ...],
    patterns: tuple[str, ...],
) -> dict[str, str]:
    """Return the split of each data file of ``splits``, by its path.

    Args:
        paths: The data files of the repository.
        card_data: The header of its README.
        config: The config of the card that is read; None for the card's default.
        splits: The wanted splits; a file of two of them belongs to the first.
        patterns: Glob patterns of the files of ``splits[0]``, which take the place of the card's.

    Raises:
        ValueError: there is no such config or file, several configs and no default, or the card is malformed.
    """
    from datasets import DownloadConfig
    from datasets.data_files import EmptyDatasetError, get_data_patterns, sanitize_patterns

    listing = DownloadConfig(storage_options={"reference": {"fo": dict.fromkeys(paths, "")}})
    chosen = {"data_files": {splits[0]: list(patterns)}} if patterns else _chosen_config(card_data, config)
    folder, declared = f"{_REPOSITORY}{chosen.get('data_dir') or ''}", chosen.get("data_files")
    try:
        found = get_data_patterns(folder, listing) if declared is None else sanitize_patterns(declared)
    except EmptyDatasetError:
        return {}
    by_split = {str(name): split_patterns for name, split_patterns in found.items()}
    files: dict[str, str] = {}
    for split in splits:
        for pattern in by_split.get(split, ()):
            for path in _matching_paths(pattern, folder, listing):
                files.setdefault(path, split)
    return files


def of_one_format(paths: Iterable[str]) -> list[str]:
    """Return the paths in the format that most of them have, as ``datasets`` chooses it.

    The same rows often lie beside themselves as Parquet and JSON lines: reading both would read them twice.
    """
    from datasets.data_files import DataFilesList
    from datasets.load import infer_module_for_data_files_list

    def format_of(*names: str) -> str | None:
        return infer_module_for_data_files_list(DataFilesList(list(names), origin_metadata=[]))[0]

    chosen = format_of(*(paths := list(paths)))
    return [path for path in paths if format_of(path) == chosen]


def _chosen_config(card_data: DatasetCardData | None, config: str | None) -> Mapping[str, Any]:
    from datasets.utils.metadata import MetadataConfigs

    configs = MetadataConfigs.from_dataset_card_data(card_data) if card_data else MetadataConfigs()
    if not configs and config in {None, "default"}:
        return {}
    name = config or configs.get_default_config_name()
    if name is None:
        raise ValueError(f"its card declares configs {sorted(configs)} and no default; choose one")
    if name not in configs:
        raise ValueError(f"config {name!r} is none of those its card declares, {sorted(configs)}")
    return configs[name]


def _matching_paths(pattern: str, folder: str, listing: DownloadConfig) -> Iterator[str]:
    from datasets.data_files import resolve_pattern
    from datasets.utils.file_utils import is_relative_path

    if not is_relative_path(pattern) or "::" in pattern:
        raise ValueError(f"data file {pattern!r} is not a path inside the repository")
    try:
        urls = resolve_pattern(pattern, folder, download_config=listing)
    except FileNotFoundError as error:
        if has_magic(pattern):
            return
        raise ValueError(f"data file {pattern!r} is not in the repository, or in no format that is read") from error
    yield from (url.removeprefix(_REPOSITORY) for url in urls)
