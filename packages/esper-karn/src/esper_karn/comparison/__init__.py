"""Runs of one task side by side: what differs in their settings, curves and paired episodes."""
