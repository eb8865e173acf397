"""View models: what an interface shows, selected from a run's state."""
