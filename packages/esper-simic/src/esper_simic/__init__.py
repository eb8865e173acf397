"""Reinforcement learning of Esper: rewards, rollouts and recurrent PPO."""
