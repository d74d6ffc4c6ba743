"""Necks: refine the features of one encoder; one component a file, named as in spec strings."""
