"""Runs model-written programs in isolation and grades them outside of it; README.md here draws the processes.

The asserts of a benchmark run in a judge process that never holds model-written code; the candidate program runs
isolated and is only a remote call away. Messages are tagged JSON, so the worst a program can do is answer wrongly.
"""
