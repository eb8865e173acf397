"""esper-train: composes the Esper domains into runnable commands."""
