"""Figures and intervals of scores, and the verdict of a paired comparison."""
