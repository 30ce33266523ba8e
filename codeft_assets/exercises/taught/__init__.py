"""Exercises written by a teacher: topics drawn at random, prompts, statements, and the choice among solutions."""
