"""The keys of Sanctum, as its help lists them."""

from __future__ import annotations

KEYS = (
    ("1 to 9", "open a host; g and a number for any host, also 0"),
    ("Tab, Shift-Tab", "next, previous screen"),
    ("h l, arrows", "previous, next panel of the screen"),
    ("j k, arrows", "move in the panel; page keys, Home and End too"),
    ("Enter", "open: a host, or the moment of a decision or of a line of the log"),
    ("Esc", "back: to the screen before, to all lines, to the latest event"),
    ("/", "filter the log"),
    ("space", "pause, or go on; a pause counts the events that it holds back"),
    ("[ ]", "one event back, forward; { } a hundred events"),
    ("y", "histories on a logarithmic scale, or on a linear one"),
    ("t", "theme: dark, light, high contrast"),
    (":", "commands by name"),
    ("?", "this help"),
    ("q", "quit; training goes on"),
)
"""A key and what it does."""

STOP = ("Ctrl-C", "stop the run and save it; asks first")
LEAVE = ("Ctrl-C", "quit, as q")
"""What Ctrl-C does where Sanctum belongs to a run, and where it only looks at one."""
