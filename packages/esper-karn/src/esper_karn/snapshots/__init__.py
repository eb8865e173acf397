"""States of a run at some of its events, kept in the user's cache."""
