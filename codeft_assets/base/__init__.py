"""Shared by curation, training and evaluation: files, answers, Markdown, reports. Standard library only."""
