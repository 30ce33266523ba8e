"""Statistics of scores: intervals and comparisons."""
