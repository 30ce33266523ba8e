"""Habits of a training run, one file each; both engines call the same hooks."""
