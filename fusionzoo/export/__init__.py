"""A finished run's model as a file for other programs, proven to give the same probabilities."""
