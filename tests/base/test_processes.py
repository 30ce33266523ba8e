"""Our programs start fast: what they import is not walked for garbage again and again."""

import gc
import runpy
import sys

import pytest


@pytest.mark.parametrize("program", ["codeft_eval", "codeft_training"])
def test_a_program_that_imports_millions_of_objects_collects_rarely(program, monkeypatch):
    before = gc.get_threshold()
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    try:
        gc.set_threshold(700)
        with pytest.raises(SystemExit):
            runpy.run_module(program, run_name="__main__")
        assert gc.get_threshold()[0] == 10_000
    finally:
        gc.set_threshold(*before)
