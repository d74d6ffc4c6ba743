"""What a run leaves: its record, its folder, and the environment it ran in."""
