"""Model: forward pass, loss, optimizer, learning-rate schedule, distribution."""
