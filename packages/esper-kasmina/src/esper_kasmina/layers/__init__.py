"""Layers of hosts and of branches of seeds."""
