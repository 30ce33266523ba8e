"""Assets, one module a group."""
