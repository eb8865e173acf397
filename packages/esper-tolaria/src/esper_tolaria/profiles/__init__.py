"""Measures what a telemetry profile asks for, on live hosts, without changing them."""
