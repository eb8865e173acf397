"""Pictures of runs. Needs ``esper-karn[plot]``."""
