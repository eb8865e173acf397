"""Optimizers, schedulers and averages in step with growth."""
