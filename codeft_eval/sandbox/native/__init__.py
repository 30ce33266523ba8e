"""Programs of other languages: compiled and run as a tree of processes; a pass is a nonce on their output."""
