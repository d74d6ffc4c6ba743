"""What runs cells: this machine, a Ray cluster, or Slurm, all with the same cell command."""
