"""Recurrent PPO: advantages, losses, and the update of a policy."""
