"""Encoders: one modality in, features out; one component a file, named as in spec strings."""
