"""Training: settings, a short loop, stages, and checkpoints that survive a kill at any time."""
