"""How fast every system is, against the plain composition of the same model."""
