"""What a run is configured by: one model for each component, and overrides."""
