"""Rules that find what a person should notice in a run's events, each a pure function."""
