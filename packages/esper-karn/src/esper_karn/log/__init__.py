"""Reads a run's event log, also while it is being written."""
