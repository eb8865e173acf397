"""Rollouts: who acts, how steps are collected, and how they are stored."""
