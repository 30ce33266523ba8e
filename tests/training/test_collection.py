"""Garbage collection while a model trains: off, and as it was afterwards."""

import gc

import pytest

from codeft_training.train.collection import without_garbage_collection


@pytest.mark.parametrize("is_frozen", [False, True])
def test_what_was_frozen_before_a_training_stays_so_and_nothing_else(is_frozen):
    gc.freeze() if is_frozen else gc.unfreeze()
    with without_garbage_collection():
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 0
    assert gc.isenabled()
    assert (gc.get_freeze_count() > 0) == is_frozen
    gc.freeze()  # as the tests around it have it
