"""Decisions of Esper: heuristic controller, Obs V3 encoder, masks and the recurrent policy."""
