"""Training runs: engines, callbacks, checkpoints, resuming."""
