"""Branches for tokens [B, T, D]; those that treat each token alone also fit vectors [B, D]."""

from esper_kasmina.blueprints.tokens import attention, norm

__all__ = ["attention", "norm"]
