"""The whole dashboard: which panels are drawn, and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.layout import Layout
from rich.panel import Panel
from rich.text import Text

from esper_karn.console.dashboard.panels import (
    Rows,
    health_panel,
    hosts_panel,
    ops_panel,
    policy_panel,
    rewards_panel,
)
from esper_karn.formatting import format_duration, format_fixed, format_index, pluralize
from esper_karn.state.run import RunState
from esper_karn.terminal.layout import GAP, Part, fit_parts, join
from esper_karn.views.stages import STAGE_LETTERS
from esper_karn.views.summary import Header, header, phase
from esper_leyline import RunStatus
from esper_leyline.health import Level

TWO_COLUMNS = 120
"""From this width on, panels stand in two columns."""

SMALLEST = (80, 24)
"""Columns and rows of the smallest terminal that gets a dashboard."""

_PANELS: Mapping[str, Callable[[RunState], RenderableType]] = MappingProxyType(
    {
        "hosts": hosts_panel,
        "policy": policy_panel,
        "reward": rewards_panel,
        "ops": ops_panel,
        "health": health_panel,
    }
)
"""Every panel by name, in the order in which they are drawn."""

_IMPORTANCE = ("hosts", "policy", "health", "reward", "ops")
"""The order in which panels are chosen."""

_LEAST_ROWS = MappingProxyType({"hosts": 5, "policy": 6, "reward": 5, "ops": 5, "health": 4})
"""Rows below which a panel is left out, with its frame."""

_FRAME = (4, 2)
"""Columns and rows of the frame of a panel."""

_LEFT = ("hosts", "reward")

_NO_LIMIT = 10_000

_BAR = "bar"
"""The part of the title that says nothing which the number of the round does not say."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A run on the whole of a terminal.

    No number is cut: panels that have no room are named in the last line, and panels leave out
    whole rows and columns, which they name too.
    """

    state: RunState

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or options.max_height
        names, left_out = _choose(width, height - 2)
        line, parts_left_out = title(self.state, width)
        footer = _footer([*parts_left_out, *left_out], width, height)
        layout = Layout()
        layout.split_column(
            Layout(Text(line, "bold"), size=1, name="title"),
            self._body(names, console, options.update(width=width, height=height - 2)),
            Layout(Text(footer, "dim"), size=1, name="footer"),
        )
        yield layout

    def _body(self, names: list[str], console: Console, options: ConsoleOptions) -> Layout:
        body, width = Layout(name="body"), options.max_width
        if width < TWO_COLUMNS:
            body.split_column(*self._column(names, console, options))
            return body
        # The left panels have more columns of their own.
        wide = round(width * 11 / 21)
        left, right = Layout(name="left", size=wide), Layout(name="right", size=width - wide)
        for side, size in ((left, wide), (right, width - wide)):
            chosen = [name for name in names if (name in _LEFT) == (side is left)]
            side.split_column(*self._column(chosen, console, options.update(width=size)))
        body.split_row(left, right)
        return body

    def _column(self, names: list[str], console: Console, options: ConsoleOptions) -> list[Layout]:
        """Gives each panel the rows that it can use; health or the last one takes the rest."""
        height = options.height or options.max_height
        panels = {name: _PANELS[name](self.state) for name in names}
        rest = "health" if "health" in names else names[-1]
        rows = {name: _LEAST_ROWS[name] for name in names}
        for name in names:
            spare = height - sum(rows.values())
            if spare > 0 and name != "health":
                wanted = max(0, _whole_rows(panels[name], console, options) - rows[name])
                # Fewer rows than it wants are of no use to the policy.
                rows[name] += min(spare, wanted) if name != "policy" or wanted <= spare else 0
        rows[rest] += max(0, height - sum(rows.values()))
        return [
            Layout(Panel(panels[name], title=name, title_align="left"), name=name, size=rows[name])
            for name in names
        ]


def _whole_rows(panel: RenderableType, console: Console, options: ConsoleOptions) -> int:
    """Returns the rows in which a panel shows everything, with its frame."""
    columns, rows = _FRAME
    inner = options.update(width=options.max_width - columns, height=None)
    if isinstance(panel, Rows):
        return panel.wanted(console, inner) + rows
    inner.max_height = _NO_LIMIT  # panels fill a height, and take at most the largest one
    return len(console.render_lines(panel, inner, pad=False)) + rows


def title(state: RunState, width: int) -> tuple[str, list[str]]:
    """Returns the first line, and the names of the parts that it has no room for.

    It has the run, how far it is, and how it stands.
    """
    found = header(state)
    parts = [
        Part(text=f"esper {found.command or ''}".rstrip()),
        Part(text=" · ".join(filter(None, [found.task, found.device])), name="task", rank=3),
        *_progress_parts(state, found),
    ]
    if found.anomalies:
        parts.append(Part(text=f"▲ {pluralize(found.anomalies, 'anomaly', 'anomalies')}"))
    if found.health is Level.BAD:
        parts.append(Part(text="✖ see health"))
    kept, left_out = fit_parts(width, parts)
    return join(kept), [name for name in left_out if name != _BAR]


def _progress_parts(state: RunState, found: Header) -> list[Part]:
    if found.status is not RunStatus.RUNNING:
        return [Part(text=found.status.value)]
    now = phase(state)
    if state.built is None:
        text = (now.phase or "starting").replace("_", " ")
        return [Part(text=f"{text} {now.detail or ''}".rstrip())]
    total = f"/{format_index(found.rounds_total)}" if found.rounds_total else ""
    done = round(20 * min(1.0, max(0.0, found.share or 0.0)))
    parts = [
        Part(text=f"round {format_index(found.round)}{total}"),
        Part(text="━" * done + "─" * (20 - done), name=_BAR, rank=5),
        Part(text=f"ETA {format_duration(found.eta)}", name="ETA", rank=1),
    ]
    if found.mean_accuracy is not None:
        text = f"accuracy {format_fixed(found.mean_accuracy, 1)} %"
        parts.append(Part(text=text, name="accuracy", rank=4))
    if now.phase not in {None, "training"}:
        parts.append(Part(text=str(now.phase).replace("_", " "), name="phase", rank=2))
    return parts


def _choose(width: int, height: int) -> tuple[list[str], list[str]]:
    """Returns the panels that fit, and those that do not."""
    names: list[str] = []
    rooms = [height, height] if width >= TWO_COLUMNS else [height]
    for name in _IMPORTANCE:
        side = 0 if len(rooms) == 1 or name in _LEFT else 1
        if rooms[side] >= _LEAST_ROWS[name]:
            rooms[side] -= _LEAST_ROWS[name]
            names.append(name)
    return [name for name in _PANELS if name in names], [
        name for name in _PANELS if name not in names
    ]


def _footer(left_out: list[str], width: int, height: int) -> str:
    parts = ["Ctrl-C stops the run and saves it"]
    if left_out:
        parts.append(f"no room at {width}×{height}: {', '.join(left_out)}")
    legend = " ".join(f"{letter} {name.lower()}" for name, letter in STAGE_LETTERS.items())
    if cell_len(GAP.join([*parts, legend])) <= width:
        parts.append(legend)
    return GAP.join(parts)
