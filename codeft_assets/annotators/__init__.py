"""Sources of labels: a model behind an endpoint, a local model, labels that ship with the project."""
