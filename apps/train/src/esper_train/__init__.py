"""esper-train: composes the Esper domains into runnable commands."""

from esper_train.cli import main

__all__ = ["main"]
