"""Python programs: a judge and a candidate in two processes that speak by RPC."""
