"""The colours of Sanctum: dark, light, high contrast, and none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual.theme import Theme

from esper_leyline.health import Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """One theme: Rich styles by their meaning, and the colours of the frame.

    A colour never stands alone: a mark, a letter or a word says the same.

    Attributes:
        faint: Of what is not important.
        strong: Of headings.
        accent: Of what is chosen or new.
        cursor: Of the chosen line in the panel that has the focus; ``away`` in the others.
        stages: By the name of a stage.
    """

    name: str
    dark: bool
    foreground: str
    background: str
    frame: str
    focus: str
    faint: str
    strong: str
    accent: str
    good: str
    warning: str
    bad: str
    cursor: str
    away: str
    stages: Mapping[str, str]

    def level(self, level: Level) -> str:
        """Returns the style of a level of health."""
        styles = {Level.OK: self.good, Level.WARNING: self.warning, Level.BAD: self.bad}
        return styles.get(level, self.faint)

    def sign(self, value: float | None) -> str:
        """Returns the style of a gain or a loss."""
        if value is None or value == 0:
            return ""
        return self.good if value > 0 else self.bad

    def theme(self) -> Theme:
        """Returns the theme of Textual with these colours."""
        return Theme(
            name=self.name,
            primary=self.focus,
            secondary=self.frame,
            warning=_colour(self.warning),
            error=_colour(self.bad),
            success=_colour(self.good),
            accent=self.focus,
            foreground=self.foreground,
            background=self.background,
            surface=self.background,
            panel=self.frame,
            dark=self.dark,
            variables={"scrollbar": self.frame, "scrollbar-background": self.background},
        )


def _colour(style: str) -> str:
    """Returns the colour of a style, which comes last in it."""
    return style.rsplit(maxsplit=1)[-1]


def _stages(**styles: str) -> Mapping[str, str]:
    return {name.upper(): style for name, style in styles.items()}


DARK = Palette(
    name="dark",
    dark=True,
    foreground="#d7dae0",
    background="#14161b",
    frame="#3a404c",
    focus="#6cb6ff",
    faint="#8a93a3",
    strong="bold #ffffff",
    accent="bold #6cb6ff",
    good="#7fd18b",
    warning="#f2c14e",
    bad="#ff7b72",
    cursor="on #2a4365",
    away="on #242830",
    stages=_stages(
        germinated="#5fd7d7",
        training="#e5c07b",
        blending="#ff9f5a",
        holding="#c893e8",
        fossilized="#7fd18b",
        pruned="#ff7b72",
        embargoed="#8a93a3",
        resetting="#8a93a3",
    ),
)

LIGHT = Palette(
    name="light",
    dark=False,
    foreground="#1f2430",
    background="#fbfaf7",
    frame="#b9b4a8",
    focus="#0b5cad",
    faint="#5f6673",
    strong="bold #000000",
    accent="bold #0b5cad",
    good="#1a7431",
    warning="#8a5300",
    bad="#b3261e",
    cursor="on #cfe3f7",
    away="on #eceae3",
    stages=_stages(
        germinated="#00707a",
        training="#7a5c00",
        blending="#a34700",
        holding="#7b2fa3",
        fossilized="#1a7431",
        pruned="#b3261e",
        embargoed="#5f6673",
        resetting="#5f6673",
    ),
)

HIGH_CONTRAST = Palette(
    name="high contrast",
    dark=True,
    foreground="#ffffff",
    background="#000000",
    frame="#ffffff",
    focus="#ffff00",
    faint="#ffffff",
    strong="bold #ffffff",
    accent="bold #ffff00",
    good="#00ff6a",
    warning="bold #ffd500",
    bad="bold #ff8a80",
    cursor="bold #000000 on #ffff00",
    away="underline",
    stages=_stages(
        germinated="#00ffff",
        training="#ffd500",
        blending="#ffa64d",
        holding="#ff9dff",
        fossilized="#00ff6a",
        pruned="#ff8a80",
        embargoed="#ffffff",
        resetting="#ffffff",
    ),
)

PALETTES = (DARK, LIGHT, HIGH_CONTRAST)
"""The themes, in the order in which a key goes through them."""

NO_COLOUR = Palette(
    name="ansi-dark",
    dark=True,
    foreground="ansi_default",
    background="ansi_default",
    frame="ansi_default",
    focus="ansi_default",
    faint="",
    strong="bold",
    accent="bold",
    good="",
    warning="bold",
    bad="bold",
    cursor="reverse",
    away="underline",
    stages={},
)
"""Where the environment variable ``NO_COLOR`` is set: the theme of this name is Textual's own."""
