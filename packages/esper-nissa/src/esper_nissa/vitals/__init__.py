"""Measurements of the machine under a run."""
