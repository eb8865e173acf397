"""What flows through a slot, and how it is told from an example."""
