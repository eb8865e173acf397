"""Slots in a user's model, and the plain model harvested from it."""
