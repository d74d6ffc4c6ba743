"""Drawings of boards as SVG text: the same board gives the same bytes."""
