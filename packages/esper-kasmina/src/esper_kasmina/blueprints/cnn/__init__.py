"""Branches for feature maps [B, C, ...]."""

from esper_kasmina.blueprints.cnn import attention, norm

__all__ = ["attention", "norm"]
