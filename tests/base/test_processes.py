"""Our programs share a machine: imports are not walked for garbage again and again, waiting threads sleep."""

import gc
import os
import runpy
import sys

import pytest


@pytest.mark.parametrize("program", ["codeft_eval", "codeft_training"])
def test_a_program_collects_rarely_and_waits_briefly(program, monkeypatch):
    before = gc.get_threshold()
    monkeypatch.setenv("GOMP_SPINCOUNT", "")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    try:
        gc.set_threshold(700)
        with pytest.raises(SystemExit):
            runpy.run_module(program, run_name="__main__")
        assert gc.get_threshold()[0] == 10_000
        assert os.environ["GOMP_SPINCOUNT"] == "10000"
    finally:
        gc.set_threshold(*before)
