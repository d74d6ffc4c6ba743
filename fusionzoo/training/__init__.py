"""Training: settings, one short loop, stages, and checkpoints that survive a kill at any instant."""
