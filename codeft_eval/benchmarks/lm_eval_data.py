"""A task of lm-eval: the file that defines it, its data in a local folder, its documents as rows; no download.

lm-eval's own index of all tasks takes half a minute, so the one file is looked for instead.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from codeft_eval.benchmarks.datafiles import FOLDER_VARIABLE, hub_cache, state_of

INCLUDE_VARIABLE = "CODEFT_LM_EVAL_INCLUDE"
COLUMNS = ("task_id", "prompt", "target", "task_sha256")
_LOCAL_FORMATS = ("json", "csv", "parquet", "arrow", "text")


@dataclass(frozen=True, slots=True)
class TaskRows:
    """The documents of a task, as its prompt and target show them."""

    task: str

    def is_present(self) -> bool:
        """Return whether the data is here, of a task that exists."""
        try:
            config = read_config(self.task)
        except ValueError:
            return False
        return _has_own_data(config) or any(_folders(config["dataset_path"]))

    def read(self) -> list[dict[str, Any]]:
        """Return one row a document, in lm-eval's order."""
        task = load_task(self.task)
        facts = task.dump_config() | {"dataset_path": "", "dataset_name": "", "dataset_kwargs": "", "lm_eval": ""}
        text = json.dumps(facts | {"lm_eval": version("lm-eval")}, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return [
            {
                "task_id": f"{self.task}/{number}",
                "prompt": str(task.doc_to_text(document)),
                "target": _target(task, document),
                "task_sha256": digest,
            }
            for number, document in enumerate(task.eval_docs)
        ]


def load_task(name: str) -> Any:
    """Return lm-eval's task object with its data, from a folder.

    Raises:
        ValueError: there is no such task, it cannot be scored here, or its data is absent.
    """
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    config = read_config(name)
    place = _local_data(name, config)
    try:
        with _nltk_refuses_downloads():
            settings = load_yaml(_find_file(name))
            whole = {key: value for key, value in settings.items() if key not in ("tag", "task_list")}
            task = ConfigurableTask(config=whole | place)
    except Exception as error:
        raise ValueError(
            f"lm-eval's task {name!r} does not load: {type(error).__name__}: {error}; {_remedy(error)}"
        ) from error
    unknown = [metric for metric, compute in task._metric_fn_list.items() if compute is None]
    if unknown and task.config.process_results is None:
        raise ValueError(
            f"lm-eval's task {name!r} has the metric {unknown[0]!r}, which lm-eval would download; name a task whose "
            "metrics are lm-eval's own"
        )
    return task


@contextmanager
def _nltk_refuses_downloads() -> Iterator[None]:
    """Let a task that fetches NLTK's data at import fail with what is missing; NLTK itself has no such switch."""
    if find_spec("nltk") is None:
        yield
        return
    import nltk

    download, nltk.download = nltk.download, _refuse_download
    try:
        yield
    finally:
        nltk.download = download


def _refuse_download(name: str, *_: Any, **__: Any) -> None:
    raise ValueError(
        f"NLTK's data {name!r} is not here; run `python -m nltk.downloader -d FOLDER {name}` where there is a network, "
        "and name FOLDER in NLTK_DATA"
    )


def _remedy(error: Exception) -> str:
    """Return what to do about a task that does not load: for a missing package, lm-eval's own extra."""
    package = getattr(error, "name", "") if isinstance(error, ModuleNotFoundError) else ""
    if not package:
        return "what it needs must be here, packages and data, for nothing is downloaded"
    extra = re.compile(rf"^{re.escape(package)}\b.*extra == ['\"](\S+)['\"]")
    found = [match[1] for requirement in requires("lm-eval") or () if (match := extra.match(requirement))]
    return f"pip install '{f'lm-eval[{found[0]}]' if found else package}'"


def read_config(name: str) -> dict[str, Any]:
    """Return a task's settings without running any of its functions.

    Raises:
        ValueError: there is no such task, or it cannot be scored here.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    config = load_yaml(_find_file(name), resolve_func=False)
    for reason, applies in _REFUSALS.items():
        if applies(config):
            raise ValueError(f"lm-eval's task {name!r} {reason}")
    return config


_REFUSALS = {
    "runs model-written code without a sandbox; score a benchmark of ours, such as humaneval, mbpp or cruxeval_input": (
        lambda config: config.get("unsafe_code")
    ),
    "is a Python class, which brings data and metrics of its own; name a task that a YAML file defines": (
        lambda config: "class" in config or not config.keys() & {"dataset_path", "custom_dataset"}
    ),
    "needs rolling likelihoods, which this harness does not compute; name one that compares answers": (
        lambda config: config.get("output_type") == "loglikelihood_rolling"
    ),
    "draws several completions an item; name one that draws one": lambda config: config.get("repeats", 1) != 1,
}


def _find_file(name: str) -> Path:
    include = os.environ.get(INCLUDE_VARIABLE, "")
    found = _search(name, include)
    if found is None:
        places = f"lm-eval {version('lm-eval')} and the folders of {INCLUDE_VARIABLE} {state_of(INCLUDE_VARIABLE)}"
        raise ValueError(
            f"there is no task {name!r} in {places}; `lm-eval ls tasks` lists names, and of a group each task is named"
        )
    return found


@cache
def _search(name: str, include: str) -> Path | None:
    """Return the YAML file of a task, the user's folders first; a file that is called like its task is soon found."""
    package = find_spec("lm_eval")
    assert package is not None, "a dependency"
    assert package.origin is not None, "a package with an __init__.py"
    folders = [Path(folder) for folder in include.split(os.pathsep) if folder] + [Path(package.origin).parent / "tasks"]
    line = re.compile(rf"""^task: *["']?{re.escape(name)}["']? *(?:#.*)?$""", re.MULTILINE)
    for folder in folders:
        likely = sorted(folder.rglob(f"{name}.yaml"))
        for path in (*likely, *sorted(folder.rglob("*.yaml"))):
            if line.search(path.read_text(encoding="utf-8", errors="replace")):
                return path
    return None


def _has_own_data(config: dict[str, Any]) -> bool:
    return "custom_dataset" in config or config["dataset_path"] in _LOCAL_FORMATS


def _local_data(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that make lm-eval read the data from a folder."""
    if _has_own_data(config):
        return {}
    repo, part = config["dataset_path"], config.get("dataset_name")
    folder = next(_folders(repo), None)
    if folder is None:
        raise ValueError(
            f"the data of lm-eval's task {name!r} is not here; run `hf download {repo} --repo-type dataset --local-dir "
            f"FOLDER/{repo}` and name FOLDER in {FOLDER_VARIABLE} {state_of(FOLDER_VARIABLE)}"
        )
    card = folder / "README.md"
    if part and (folder / part).is_dir() and not (card.is_file() and "config_name:" in card.read_text("utf-8")):
        options = {**config.get("dataset_kwargs", {}), "data_dir": part}
        return {"dataset_path": str(folder), "dataset_name": None, "dataset_kwargs": options}
    return {"dataset_path": str(folder)}


def _folders(repo: str) -> Iterator[Path]:
    """Yield the folders that hold a Hub dataset: of CODEFT_BENCHMARKS, then of the Hub's cache."""
    own = [Path(folder) / repo for folder in os.environ.get(FOLDER_VARIABLE, "").split(os.pathsep) if folder]
    cached = sorted((hub_cache() / f"datasets--{repo.replace('/', '--')}" / "snapshots").glob("*"))
    yield from (folder for folder in (*own, *cached) if folder.is_dir())


def _target(task: Any, document: Any) -> str:
    target = task.doc_to_target(document)
    if task.OUTPUT_TYPE == "multiple_choice" and isinstance(target, int):
        return str(task.doc_to_choice(document)[target])
    return str(target)
