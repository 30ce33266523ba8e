"""Quality: signals, rules, labels, the classifier of educational value, thresholds."""
