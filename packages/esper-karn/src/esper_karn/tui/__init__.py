"""Sanctum: a run on the whole of a terminal, with Textual; needs the extra ``tui``."""
