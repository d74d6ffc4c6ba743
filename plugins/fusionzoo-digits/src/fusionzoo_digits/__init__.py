"""Handwritten digits in six views, for fusionzoo."""
