"""The commands of ``esper-train``, a module each."""
