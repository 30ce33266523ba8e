"""Models as lm-eval sees them: a checkpoint that remembers its answers, and a replay of stored completions."""

import hashlib
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft_eval.generations import GenerationStore

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM

logger = logging.getLogger(__name__)

MINIMUM_NEW_TOKENS = 16
"""A prompt that leaves less room in the context is not scored: its completion could only be cut off."""
Progress = Callable[[str, int, int], None]
"""(kind of request, number answered, number in all)."""
PROMPT_TOO_LONG = "\x00prompt_too_long"
_WEIGHTS = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSettings:
    """How completions are made; all of it is part of a score's identity."""

    batch_size: int = 16
    "batch size changes greedy text on a GPU, so it is fixed and recorded"
    dtype: str = "float32"
    device: str = "cpu"
    max_new_tokens: int
    stops: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size {self.batch_size}: at least one prompt a batch; give a positive number")


def checkpoint_hash(folder: Path) -> str:
    """A hash of everything in a checkpoint folder that decides what the model says."""
    names = sorted({path for pattern in _WEIGHTS for path in folder.glob(pattern)})
    if not any(path.suffix == ".safetensors" for path in names) or not (folder / "config.json").is_file():
        raise ValueError(
            f"checkpoint {str(folder)!r} has no config.json with *.safetensors; give one that save_pretrained wrote"
        )
    digest = hashlib.sha256()
    for path in names:
        with path.open("rb") as file:
            digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def load_checkpoint(folder: Path, settings: GenerationSettings) -> Any:
    """The checkpoint as lm-eval's `HFLM`, loaded without any network."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    from lm_eval.models.huggingface import HFLM

    options = {"batch_size": settings.batch_size, "dtype": settings.dtype, "device": settings.device}
    model: Any = HFLM
    return model(pretrained=str(folder), **options)


def remembering(inner: Any, store: GenerationStore, settings: GenerationSettings, progress: Progress) -> "LM":
    """`inner`, an `HFLM`, with its answers in `store`: asked once for each item, in batches of similar length."""
    from lm_eval.api.model import LM

    def complete(batch: list["Instance"]) -> list[str]:
        return _generate(inner, batch, settings)

    def weigh(batch: list["Instance"]) -> list[float | None]:
        return _weigh(inner, batch)

    class RememberingLM(LM):
        def generate_until(self, requests: list["Instance"]) -> list[str]:
            batches = _batches(requests, _lengths(inner, requests), settings.batch_size)
            return _answer_all("completion", batches, complete, store, progress, requests)

        def loglikelihood(self, requests: list["Instance"]) -> list[tuple[float, bool]]:
            batches = _batches(requests, _lengths(inner, requests), settings.batch_size)
            answers = _answer_all("log_likelihood", batches, weigh, store, progress, requests)
            return [(math.nan if value is None else value, False) for value in answers]

        def loglikelihood_rolling(self, requests: list["Instance"]) -> list[float]:
            raise NotImplementedError("no benchmark asks for rolling likelihoods")

    return RememberingLM()


def replaying(completions: Mapping[str, str], stops: Sequence[str]) -> "LM":
    """A model that answers with stored completions, cut at the same stops.

    Raises:
        ValueError: an item has no stored completion.
    """
    from lm_eval.api.model import LM

    class ReplayingLM(LM):
        def generate_until(self, requests: list["Instance"]) -> list[str]:
            missing = [name for request in requests if (name := request.doc["task_id"]) not in completions]
            if missing:
                raise ValueError(
                    f"no completion for {len(missing)} items, {missing[:3]} first; add them or use --limit"
                )
            return [_cut(completions[request.doc["task_id"]], stops) for request in requests]

        def loglikelihood(self, requests: list["Instance"]) -> list[tuple[float, bool]]:
            raise NotImplementedError("stored completions have no likelihoods")

        def loglikelihood_rolling(self, requests: list["Instance"]) -> list[float]:
            raise NotImplementedError("stored completions have no likelihoods")

    return ReplayingLM()


def _cut(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        text = text.split(stop, 1)[0]
    return text


def _batches(requests: Sequence["Instance"], lengths: list[int], size: int) -> list[list["Instance"]]:
    """The same batches in every run, also in one that resumes: longest prompts first, ties by task id."""
    order = sorted(zip(lengths, requests, strict=True), key=lambda pair: (-pair[0], pair[1].doc["task_id"]))
    ordered = [request for _, request in order]
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _answer_all(
    kind: str,
    batches: list[list["Instance"]],
    answer: Callable[[list["Instance"]], list[Any]],
    store: GenerationStore,
    progress: Progress,
    requests: Sequence["Instance"],
) -> list[Any]:
    num_done = 0
    for batch in batches:
        waiting = [request for request in batch if (kind, request.doc["task_id"]) not in store]
        if waiting:
            keys = [(kind, request.doc["task_id"]) for request in waiting]
            store.add(zip(keys, answer(waiting), strict=True))
        num_done += len(batch)
        progress(kind, num_done, len(requests))
    return [store.get((kind, request.doc["task_id"])) for request in requests]


def _lengths(inner: Any, requests: Sequence["Instance"]) -> list[int]:
    return [len(inner.tok_encode(request.args[0])) for request in requests]


def _weigh(inner: Any, batch: list["Instance"]) -> list[float | None]:
    """Log-likelihoods of one batch; None where prompt and solution exceed the context and would be cut."""
    lengths = [len(inner.tok_encode("".join(request.args))) for request in batch]
    fitting = [request for request, length in zip(batch, lengths, strict=True) if length <= inner.max_length]
    found = iter(inner.loglikelihood(fitting, disable_tqdm=True) if fitting else [])
    return [float(next(found)[0]) if length <= inner.max_length else None for length in lengths]


def _generate(inner: Any, batch: list["Instance"], settings: GenerationSettings) -> list[str]:
    """Completions of one batch; the token limit shrinks to what the context leaves, and no prompt is truncated."""
    from lm_eval.api.instance import Instance

    lengths = _lengths(inner, batch)
    fits = [length + MINIMUM_NEW_TOKENS <= inner.max_length for length in lengths]
    answers = [PROMPT_TOO_LONG] * len(batch)
    chosen = [index for index, fit in enumerate(fits) if fit]
    if not chosen:
        return answers
    room = inner.max_length - max(lengths[index] for index in chosen)
    options = {
        "until": list(settings.stops),
        "max_gen_toks": min(settings.max_new_tokens, room),
        "do_sample": False,
    }
    asked = [Instance("generate_until", {}, (batch[index].args[0], options), 0) for index in chosen]
    for index, text in zip(chosen, inner.generate_until(asked, disable_tqdm=True), strict=True):
        answers[index] = text
    return answers
