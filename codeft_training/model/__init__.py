"""The training computation: forward pass, loss, optimizer, learning rate, and the processes that share them."""
