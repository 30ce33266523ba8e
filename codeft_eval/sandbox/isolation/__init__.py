"""Isolation of a process from the host: namespaces, Landlock, seccomp."""
