"""Stress tests of a finished run: how its metrics fall when inputs get worse."""
