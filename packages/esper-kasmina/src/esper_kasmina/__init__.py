"""Growing layers for PyTorch: hosts, slots, blueprints and the seed lifecycle."""
