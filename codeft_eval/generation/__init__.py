"""Generation: a checkpoint and prompts in, completions out."""
