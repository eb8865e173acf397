"""Branches for tokens [B, T, D], and for feature vectors [B, D] where they fit."""

from esper_kasmina.blueprints.tokens import attention, norm

__all__ = ["attention", "norm"]
