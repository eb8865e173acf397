"""Writes SVG elements and CSS animations as text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from esper_leyline import printable

Value = str | float


class Drawing:
    """Elements and the CSS animations that they name, in the order in which they are drawn."""

    def __init__(self) -> None:
        self.elements: list[str] = []
        self.animations: list[str] = []

    def add(self, *elements: str) -> None:
        """Adds elements on top of the others."""
        self.elements += elements

    def animate(self, *animations: str) -> None:
        """Adds animations; their names are unique in the picture."""
        self.animations += animations


def element(name: str, *content: str, **attributes: Value) -> str:
    """Returns an SVG element.

    Args:
        name: Name of the element.
        content: Elements and escaped text inside it.
        attributes: An underscore in a name becomes a hyphen, a trailing one is dropped.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{''.join(content)}</{name}>" if content else f"<{name}{written}/>"


def label(text: str, x: float, y: float, **attributes: Value) -> str:
    """Returns a text element; characters that are not visible are escaped."""
    return element("text", escape(printable(text)), x=x, y=y, **attributes)


def note(name: str, text: str) -> str:
    """Returns a ``title`` or a ``desc`` of the element around it, which is not drawn."""
    return element(name, escape(printable(text)))


def path(points: Sequence[tuple[float, float]]) -> str:
    """Returns the data of a path of straight lines."""
    return "M" + "L".join(f"{_value(x)},{_value(y)}" for x, y in points)


def keyframes(name: str, frames: Sequence[tuple[float, str]]) -> str:
    """Returns a CSS animation.

    Args:
        name: Its name.
        frames: Percentage of the animation's duration, and the declarations then.
    """
    steps = "".join(f"{_value(percent)}%{{{declarations}}}" for percent, declarations in frames)
    return f"@keyframes {name}{{{steps}}}"


def _value(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
