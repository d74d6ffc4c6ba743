"""A model card of a finished run: what it is for, what it can do, for whom, and how it was made."""
