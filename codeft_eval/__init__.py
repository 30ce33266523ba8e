"""Evaluation: a checkpoint and a benchmark become scores that nothing inside the checkpoint can fake."""
