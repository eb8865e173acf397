"""Grows one seed inside a training loop, by a schedule."""
