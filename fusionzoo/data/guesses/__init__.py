"""A first `dataset.yaml` for a manifest: guesses with reasons, for a person to review."""
