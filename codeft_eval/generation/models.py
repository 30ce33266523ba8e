"""Models as lm-eval sees them: a checkpoint that remembers its answers, and a replay of stored completions."""

import hashlib
import logging
import math
import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft_eval.generation.generate import Decoding, IsWaiting, Key, Prompt, continuously, cut, in_batches, in_graphs
from codeft_eval.generation.store import GenerationStore

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM

logger = logging.getLogger(__name__)

MINIMUM_NEW_TOKENS = 16
"""A prompt that leaves less room in the context is not scored: its completion could only be cut off."""
Progress = Callable[[str, int, int], None]
"""(kind of request, number answered, number in all)."""
Found = Iterator[Mapping[Key, Any]]
"""Answers as they come."""
Hear = Callable[[str, str], None]
"""(task id, completion): told of each completion as soon as it is there."""
Timing = Callable[[str], AbstractContextManager[None]]
"""The part of a run that begins now: generation, likelihood."""
PROMPT_TOO_LONG = "\x00prompt_too_long"
ENGINES = {"batches": in_batches, "graphs": in_graphs, "continuous": continuously}
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
    engine: str = "batches"
    "batches, graphs: the same text in every run; continuous: replaces a finished row at once"
    num_samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

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

    def decoding(self) -> Decoding:
        """The part that chooses tokens."""
        names = ("stops", "temperature", "top_p", "seed", "batch_size")
        return Decoding(**{name: getattr(self, name) for name in names})

    def plain(self) -> dict[str, Any]:
        """The settings as JSON-ready values."""
        return asdict(self) | {"stops": list(self.stops)}


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
    """The checkpoint as lm-eval's `HFLM`, loaded without any network.

    cuDNN's attention is turned off for the process: on an H200 a second run gave one completion in seven again with it,
    and all of them with PyTorch's own (tests/benchmarks/generation.py, with and without --cudnn).
    """
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    import torch
    from lm_eval.models.huggingface import HFLM

    torch.backends.cuda.enable_cudnn_sdp(False)
    # it warns of a context that is exceeded, and counts the padding in front of a short prompt
    logging.getLogger("transformers.generation.stopping_criteria").setLevel(logging.ERROR)
    options = {"batch_size": settings.batch_size, "dtype": settings.dtype, "device": settings.device}
    model: Any = HFLM
    return model(pretrained=str(folder), **options)


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told how far a model is, what it wrote, and what it is busy with."""

    progress: Progress
    hear: Hear
    timing: Timing


def remembering(inner: Any, store: GenerationStore, settings: GenerationSettings, listener: Listener) -> "LM":
    """`inner`, an `HFLM`, with its answers in `store`: asked once for each item, in batches of similar length."""
    from lm_eval.api.model import LM

    def complete(requests: list["Instance"], is_waiting: IsWaiting) -> Found:
        return _complete(inner, requests, settings, is_waiting)

    def weigh(requests: list["Instance"], is_waiting: IsWaiting) -> Found:
        return _weigh(inner, requests, settings.batch_size, is_waiting)

    class RememberingLM(LM):
        def generate_until(self, requests: list["Instance"]) -> list[str]:
            answers = _Answers("completion", store, listener.progress, listener.hear)
            with listener.timing("generation"):
                return answers.of(_by_length(inner, requests), requests, complete)

        def loglikelihood(self, requests: list["Instance"]) -> list[tuple[float, bool]]:
            answers = _Answers("log_likelihood", store, listener.progress, lambda task_id, text: None)
            with listener.timing("likelihood"):
                found = answers.of(_by_length(inner, requests), requests, weigh)
            return [(math.nan if value is None else value, False) for value in found]

        def loglikelihood_rolling(self, requests: list["Instance"]) -> list[float]:
            raise NotImplementedError("no benchmark asks for rolling likelihoods")

    return RememberingLM()


def replaying(completions: Mapping[str, Sequence[str]], stops: Sequence[str]) -> "LM":
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
            return [cut(completions[request.doc["task_id"]][int(request.doc["sample"])], stops) for request in requests]

        def loglikelihood(self, requests: list["Instance"]) -> list[tuple[float, bool]]:
            raise NotImplementedError("stored completions have no likelihoods")

        def loglikelihood_rolling(self, requests: list["Instance"]) -> list[float]:
            raise NotImplementedError("stored completions have no likelihoods")

    return ReplayingLM()


@dataclass(frozen=True, slots=True)
class _Answers:
    """Answers of one kind: those in the store first, then the model's, stored as they come."""

    kind: str
    store: GenerationStore
    progress: Progress
    hear: Hear

    def of(
        self,
        ordered: list["Instance"],
        requests: Sequence["Instance"],
        ask: Callable[[list["Instance"], IsWaiting], Found],
    ) -> list[Any]:
        """The answers to `requests`, asked for in the given order."""
        known = [key for request in ordered if (key := _key(request)) in self._stored()]
        self._tell({key: self.store.get((self.kind, *key)) for key in known})
        num_done = len(known)
        for answers in ask(ordered, lambda key: key not in self._stored()):
            self.store.add([((self.kind, *key), answer) for key, answer in answers.items()])
            num_done += len(answers)
            self._tell(answers)
            self.progress(self.kind, num_done, len(ordered))
        return [self.store.get((self.kind, *_key(request))) for request in requests]

    def _stored(self) -> Container[Key]:
        return self.store.keys(self.kind)

    def _tell(self, answers: Mapping[Key, Any]) -> None:
        for (task_id, _), answer in answers.items():
            self.hear(task_id, answer)


def _key(request: "Instance") -> Key:
    return request.doc["task_id"], request.doc["sample"]


def _by_length(inner: Any, requests: Sequence["Instance"]) -> list["Instance"]:
    """Longest prompts first, ties by task id: the same order in every run."""
    lengths = _lengths(inner, requests)
    order = sorted(zip(lengths, requests, strict=True), key=lambda pair: (-pair[0], *_key(pair[1])))
    return [request for _, request in order]


def _lengths(inner: Any, requests: Sequence["Instance"]) -> list[int]:
    return [len(inner.tok_encode(request.args[0])) for request in requests]


def _complete(inner: Any, requests: Sequence["Instance"], settings: GenerationSettings, is_waiting: IsWaiting) -> Found:
    """Completions; the token limit shrinks to what the context leaves, and no prompt is truncated.

    Where nothing could judge it, no completion is made: it is empty.
    """
    prompts = [
        Prompt(
            task_id=request.doc["task_id"],
            sample=request.doc["sample"],
            tokens=(tokens := tuple(inner.tok_encode(request.args[0]))),
            max_new_tokens=min(settings.max_new_tokens, inner.max_length - len(tokens)),
        )
        for request in requests
    ]
    most_tokens = inner.max_length - MINIMUM_NEW_TOKENS
    known = {_key(request): "" for request in requests if not request.doc["is_judged"]}
    known |= {prompt.key: PROMPT_TOO_LONG for prompt in prompts if len(prompt.tokens) > most_tokens}
    waiting = {key: text for key, text in known.items() if is_waiting(key)}
    if waiting:
        yield waiting
    fitting = [prompt for prompt in prompts if prompt.key not in known]
    generate = ENGINES[settings.engine]
    for found in generate(inner.model, inner.tokenizer, fitting, settings.decoding(), is_waiting):
        yield {prompt.key: text for prompt, text in found.items()}


def _weigh(inner: Any, requests: Sequence["Instance"], batch_size: int, is_waiting: IsWaiting) -> Found:
    """Log-likelihoods; None where prompt and solution exceed the context and would be cut."""
    for start in range(0, len(requests), batch_size):
        batch = [request for request in requests[start : start + batch_size] if is_waiting(_key(request))]
        if not batch:
            continue
        lengths = [len(inner.tok_encode("".join(request.args))) for request in batch]
        fits = [length <= inner.max_length for length in lengths]
        fitting = [request for request, fit in zip(batch, fits, strict=True) if fit]
        found = iter(inner.loglikelihood(fitting, disable_tqdm=True) if fitting else [])
        yield {_key(request): float(next(found)[0]) if fit else None for request, fit in zip(batch, fits, strict=True)}
