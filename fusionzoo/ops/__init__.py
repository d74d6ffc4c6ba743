"""Tensor operations that several components share; the only place that looks at hardware."""
