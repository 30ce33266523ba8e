"""Scoring: completions become verdicts and verdicts become scores."""
