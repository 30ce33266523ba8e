"""Compiled loops (numba). Nothing above this folder imports numba."""
