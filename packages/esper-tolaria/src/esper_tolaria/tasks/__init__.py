"""The tasks, one module each; a module's name is the task's.

Each module defines ``TASK``, a ``Task``: host, data, training settings and preset. A new module
here is a new task; no other file lists them. Modules whose name begins with an underscore are
shared code.

Importing a task loads no torch, so that a command line can list tasks and presets at once. What
needs torch is imported by the functions that read data.
"""

from __future__ import annotations

from esper_tolaria.tasks._common import Task, describe_task, small_preset

__all__ = ["Task", "describe_task", "small_preset"]
