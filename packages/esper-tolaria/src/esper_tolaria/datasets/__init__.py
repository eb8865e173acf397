"""Data sets in memory: how each is read, its splits, and the batches of an epoch."""
