"""Checkpoints: one file each, checked before anything is built from it."""
