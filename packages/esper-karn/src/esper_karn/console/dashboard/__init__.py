"""The full-screen dashboard of a run, drawn with Rich."""
