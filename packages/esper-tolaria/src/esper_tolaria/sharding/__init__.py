"""Hosts distributed over worker processes."""
