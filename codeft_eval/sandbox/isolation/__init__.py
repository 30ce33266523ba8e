"""Isolation of a process from the host: namespaces, Landlock, seccomp, and the levels that combine them."""
