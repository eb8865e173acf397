"""Slots: the module that runs a seed, its lifecycle, and its measurements."""
