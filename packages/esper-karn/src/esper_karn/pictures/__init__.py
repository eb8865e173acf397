"""Draws pictures of runs as SVG text."""
