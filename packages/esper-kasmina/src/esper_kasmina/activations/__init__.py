"""What flows through a slot, and how it is inferred from an example."""
