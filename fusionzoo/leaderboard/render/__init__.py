"""Formats that boards are written in; each reads tables and nothing else."""
