"""Training and playing round by round, with events and checkpoints."""
