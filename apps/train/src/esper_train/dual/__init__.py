"""``esper-train ppo --dual-ab``: two reward modes, a policy each, and which is better."""
