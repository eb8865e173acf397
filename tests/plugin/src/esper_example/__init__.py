"""One part of each kind that a distribution can add to Esper."""
