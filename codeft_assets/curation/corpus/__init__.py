"""The corpus: which documents train, for how many epochs, and without their secrets."""
