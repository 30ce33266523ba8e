"""Models and people that judge documents: an endpoint, a local model, labels that ship with the project."""
