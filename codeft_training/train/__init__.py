"""Training runs: two engines (our own step loop, TRL), the callbacks of both, checkpoints and resuming."""
