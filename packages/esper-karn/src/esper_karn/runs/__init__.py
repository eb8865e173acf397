"""Runs on disk: where their parts are, and what is known of each."""
