"""Teachers write exercises: a local model or an OpenAI-compatible endpoint; a sandbox judges what they wrote."""
