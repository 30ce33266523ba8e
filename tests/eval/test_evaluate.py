"""The road of a completion: what lm-eval hands to a model and brings back, and what a grader is given."""

import math
from dataclasses import replace

from lm_eval.api.model import LM

from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.generation.language_models import PROMPT_TOO_LONG, ReplayLM
from codeft_eval.sandbox.programs import Grade
from codeft_eval.scoring.evaluate import generate, grade
from codeft_eval.scoring.phases import PhaseTimer
from codeft_eval.scoring.samples import Completion

ITEMS = load_items(BENCHMARKS["embedded"])[:3]


class EchoLM(LM):
    """Completes a prompt with its task id and sample; the likelihood of a solution is minus its length."""

    def __init__(self, too_long=()):
        super().__init__()
        self.requests = []
        self._too_long = too_long

    def generate_until(self, requests):
        self.requests += requests
        return [
            PROMPT_TOO_LONG if request.doc.task_id in self._too_long else f"{request.doc.task_id} {request.idx}"
            for request in requests
        ]

    def loglikelihood(self, requests):
        self.requests += requests
        return [
            (math.nan if request.doc.task_id in self._too_long else -float(len(request.args[1])), False)
            for request in requests
        ]

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError


class ListGrader:
    """Passes all that it is given, and keeps it."""

    isolation, reasons, limits = "none", {}, None

    def begin(self, item, completion):
        raise AssertionError("nothing begins early here")

    def grade(self, items, completions):
        self.given = list(zip(items, completions, strict=True))
        return [Grade(key=item.task_id, verdict="passed", reason="passed", isolation="none") for item in items]


def test_every_sample_of_an_item_stands_beside_its_solutions_likelihood():
    found = generate(EchoLM(), ITEMS, 2)
    assert [(completion.item, completion.number, completion.text) for completion in found] == [
        (item, number, f"{item.task_id} {number}") for item in ITEMS for number in range(2)
    ]
    assert [completion.log_likelihood for completion in found[::2]] == [-len(item.solution) for item in ITEMS]


def test_a_solution_is_scored_once_and_an_item_without_one_not_at_all():
    model = EchoLM()
    found = generate(model, [ITEMS[0], replace(ITEMS[1], solution="")], 3)
    scored = [request.doc.task_id for request in model.requests if request.request_type == "loglikelihood"]
    assert scored == [ITEMS[0].task_id]
    assert [completion.log_likelihood is None for completion in found] == [False] * 3 + [True] * 3
    model = EchoLM()
    generate(model, [replace(item, solution="") for item in ITEMS], 1)
    assert {request.request_type for request in model.requests} == {"generate_until"}


def test_a_prompt_without_room_has_no_text_no_likelihood_and_reaches_no_grader():
    grader = ListGrader()
    completions = generate(EchoLM(too_long=[ITEMS[1].task_id]), ITEMS, 1)
    assert (completions[1].text, completions[1].log_likelihood) == (None, None)
    samples = grade(completions, grader, PhaseTimer())
    assert [item for item, _ in grader.given] == [ITEMS[0], ITEMS[2]]
    assert [sample.grade.reason for sample in samples] == ["passed", "prompt_too_long", "passed"]
    assert [sample.item for sample in samples] == ITEMS


def test_a_replay_has_the_stored_texts_and_no_likelihood():
    stored = {item.task_id: ["a", "c"] for item in ITEMS}
    found = generate(ReplayLM(stored), ITEMS, 2)
    assert [completion.text for completion in found] == ["a", "c"] * 3
    assert {completion.log_likelihood for completion in found} == {None}


def test_a_completion_keeps_its_text_to_the_letter():
    grader, text = ListGrader(), "  x\ud800\n"
    grade([Completion(ITEMS[0], 0, text)], grader, PhaseTimer())
    assert grader.given == [(ITEMS[0], text)]
