"""The check of a run's losses is right for runs that are short, annealed, fine-tuned or without held-out documents."""

import math

import pytest

from codeft_assets.defs.checks.model import check_losses


def entries(training, held_out=()):
    return [*({"loss": loss} for loss in training), *({"validation_loss": loss} for loss in held_out)]


@pytest.mark.parametrize(
    ("training", "held_out", "passed"),
    [
        ([3.0], [4.0, 3.9], True),  # one step
        ([1.0, 1.2], [1.1, 1.0], True),  # a good model, fine-tuned: noise of the training documents
        ([3.0, 2.0, 2.9, 3.1], [4.0, 2.5], True),  # the annealing phase has harder documents
        ([3.0, 2.0], [2.0, 2.1], False),  # learned by heart
        ([3.0, 2.0], [2.0, 2.0], False),
        ([3.0, 2.0], [], True),
        ([3.0, 2.0], [2.0], True),  # held-out documents once only, of an earlier version: nothing before
        ([2.0, 3.0], [], False),
        ([3.0], [], True),  # nothing to compare with
        ([], [], False),  # nothing was measured
        ([3.0, math.inf], [4.0, 3.0], False),
        ([3.0], [4.0, math.nan], False),
    ],
)
def test_a_run_has_learned_where_held_out_documents_are_likelier(training, held_out, passed):
    assert check_losses(entries(training, held_out)).passed is passed


def test_without_held_out_documents_single_steps_do_not_decide():
    falling = [2.0, *[5.0] * 15, *[3.0] * 15, 2.5]  # outliers at both ends
    assert check_losses(entries(falling)).passed
    assert not check_losses(entries(falling[::-1])).passed


def test_the_losses_that_were_compared_are_named():
    metadata = check_losses(entries([9.0], [4.0, 3.0])).metadata
    assert {name: value.value for name, value in metadata.items()} == {
        "first_loss": 4.0, "final_loss": 3.0, "compared": "held-out documents"
    }  # fmt: skip
