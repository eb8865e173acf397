"""The engine: hosts of one process, trained epoch by epoch."""
