"""Python programs: a judge and a candidate in two processes that call each other over an RPC channel."""
