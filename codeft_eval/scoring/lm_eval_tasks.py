"""The adapter to lm-eval: our items as its tasks, and one call of its evaluator. Importing this loads lm-eval.

lm-eval owns the interface of language models (``LM``; its ``HFLM`` loads checkpoints, encodes texts and computes
log-likelihoods), the interface of tasks, and the evaluator, which builds a task's requests, sends them to the model by
kind and hands the responses back; a task of its own registry can stand beside ours in one call. Prompts and stops are
a benchmark's; batching and storing are the model's (``generation``); grading and statistics come after.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lm_eval.api.instance import Instance, OutputType
from lm_eval.api.model import LM
from lm_eval.api.task import Task
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

from codeft_eval.benchmarks.benchmark import Item

_SEED = 1234


class ItemTask(Task):
    """Items as documents of a task of lm-eval, with one kind of request: one for each sample of an item."""

    VERSION = 1

    def __init__(self, kind: OutputType, items: Sequence[Item], num_samples: int = 1) -> None:
        self.OUTPUT_TYPE = kind
        self._kind: OutputType = kind
        self._items, self._num_samples = list(items), num_samples
        _log_errors_only()  # it warns of defaults for lengths and stops, which a model's settings have
        super().__init__()
        self.set_config("task", f"codeft_{kind}")

    def download(self, *arguments: Any, **options: Any) -> None:
        """Do nothing: the items are here."""

    def has_training_docs(self) -> bool:
        """Return False: solved examples are part of a prompt."""
        return False

    def has_validation_docs(self) -> bool:
        """Return False."""
        return False

    def has_test_docs(self) -> bool:
        """Return True: the items."""
        return True

    def test_docs(self) -> list[Item]:
        """Return the items."""
        return self._items

    def doc_to_text(self, doc: Item) -> str:
        """Return the text that the model continues."""
        return doc.prompt

    def doc_to_target(self, doc: Item) -> str:
        """Return the canonical continuation."""
        return doc.solution

    def construct_requests(self, doc: Item, ctx: str, **options: Any) -> list[Instance]:
        """Return the requests of an item; their ``idx`` is the number of the sample."""
        arguments = (ctx, {} if self._kind == "generate_until" else doc.solution)
        document: Any = doc  # lm-eval's type is dict, and it takes any object
        return [
            Instance(self._kind, document, arguments, number, options["metadata"])
            for number in range(self._num_samples)
        ]

    def process_results(self, doc: Item, results: Sequence[Any]) -> dict[str, Any]:
        """Return no metrics: verdicts come from the grader, for all completions at once."""
        return {}

    def aggregation(self) -> dict[str, Any]:
        """Return no metrics."""
        return {}

    def higher_is_better(self) -> dict[str, bool]:
        """Return no metrics."""
        return {}


def run_lm_eval(model: LM, tasks: Sequence[Task], *, limit: int | None = None) -> dict[str, Any]:
    """Return lm-eval's results of tasks, without any network.

    ``["samples"][task]`` holds a row for each document, in order, with ``resps``, one list for each request.
    The results are those of ``simple_evaluate``, whose seeds these are; it asks git and the machine for more facts,
    which prints git's errors.
    """
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    _log_errors_only()
    random.seed(0)
    np.random.seed(_SEED)
    torch.manual_seed(_SEED)
    for task in tasks:
        task.set_fewshot_seed(_SEED)
    chosen = TaskManager(include_defaults=False).load(list(tasks))
    results = evaluate(model, chosen, limit=limit, bootstrap_iters=0, log_samples=True)
    assert results is not None, "the only process is the first"
    return dict(results)


def _log_errors_only() -> None:
    logging.getLogger("lm_eval").setLevel(logging.ERROR)


def responses(results: dict[str, Any], task: ItemTask) -> list[list[Any]]:
    """Return the responses to a task's requests: for each item, one for each sample."""
    return [[answers[0] for answers in sample["resps"]] for sample in results["samples"][task.task_name]]
