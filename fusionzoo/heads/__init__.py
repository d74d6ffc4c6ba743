"""Heads: fused features in, logits per task out; one component a file, named as in spec strings."""
