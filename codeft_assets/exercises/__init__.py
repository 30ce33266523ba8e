"""Exercises made by a program: primitives are composed, put into words and code, and run to compute the examples."""
