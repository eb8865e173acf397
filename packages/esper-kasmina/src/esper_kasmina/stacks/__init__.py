"""Small hosts for signals, computed together."""
