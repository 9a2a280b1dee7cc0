"""Files of checkpoints to networks."""
