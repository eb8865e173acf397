"""Keeps optimizers, schedulers and averages of weights up to date when seeds come and go."""
