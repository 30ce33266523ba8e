"""How long a test waits until it calls a process hung: a busy machine is slow, not red."""

SECONDS = 600
