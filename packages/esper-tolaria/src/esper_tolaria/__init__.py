"""Execution engine of Esper: data, tasks and vectorised host-training environments."""
