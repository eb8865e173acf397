"""Telemetry of Esper: the hub, its sinks and the run directory."""
