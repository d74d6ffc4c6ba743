"""Fusions: join modalities; one component a file, named as in spec strings."""
