"""Runs model-written programs in a jail and decides their verdict outside of it.

The asserts of a benchmark run in a judge process that never holds model-written code; the candidate program runs in
a jail and is only a remote call away. What crosses is tagged JSON, so the worst a program can do is answer wrongly.
"""
