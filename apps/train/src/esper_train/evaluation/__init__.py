"""``esper-train evaluate``: ways of growing networks, compared on the same unseen hosts."""
