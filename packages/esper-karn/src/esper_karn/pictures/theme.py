"""Colours, sizes and timing that the parts of a picture share."""

from __future__ import annotations

from dataclasses import dataclass

from esper_leyline import SeedStage

SECONDS = 16
"""Duration of the animation."""
SWEEP = 84.0
"""Percentage of the duration at which the last epoch is reached; then it pauses."""
LEFT = 28
"""Left edge of everything but the plots."""

TONES = {
    SeedStage.GERMINATED: "germinated",
    SeedStage.TRAINING: "training",
    SeedStage.BLENDING: "blending",
    SeedStage.HOLDING: "holding",
    SeedStage.FOSSILIZED: "fossilized",
    SeedStage.PRUNED: "pruned",
}
"""Name of each stage's colour in ``STYLE``."""

_RULES = """
svg{--card:#fff;--edge:#d0d7de;--ink:#1f2328;--muted:#59636e;--grid:#e6e9ed;--block:#4a5867;
--blockink:#fff;--germinated:#8fd0a0;--training:#1a9e5c;--blending:#1d78be;--holding:#134f94;
--fossilized:#b26a00;--pruned:#d1432f;--curve:#1f2328;--seedink:#fff}
@media (prefers-color-scheme:dark){svg{--card:#0f141a;--edge:#323a43;--ink:#e8edf2;
--muted:#98a3ae;--grid:#222a32;--block:#5d6d7e;--curve:#e8edf2;--germinated:#7cc490;
--training:#2fb673;--blending:#49a5ec;--holding:#3b82d6;--fossilized:#eba834;--pruned:#ec6350;
--seedink:#0b0f14}}
text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:var(--ink)}
.head{font-size:21px;font-weight:600}.muted{fill:var(--muted)}.small{font-size:12px}
.middle{text-anchor:middle}.end{text-anchor:end}.bold{font-weight:600}.grown{fill:var(--fossilized)}
.on{fill:var(--seedink);font-weight:600;font-size:12px}
.onblock{fill:var(--blockink);font-weight:600}
.wire{stroke:var(--muted);stroke-width:2.5;fill:none}
.vacant{fill:none;stroke:var(--muted);stroke-dasharray:3 4;stroke-opacity:.55}
.branch{stroke:currentColor;stroke-width:2.5;fill:none}
@media (prefers-reduced-motion:reduce){.moves,.steps{animation:none!important}}
"""

STYLE = f"""{_RULES}
.moves,.steps{{animation-duration:{SECONDS}s;animation-iteration-count:infinite}}
.moves{{animation-timing-function:linear}}
.steps{{animation-timing-function:step-end}}
"""
"""Rules of CSS: colours for light and dark pages, text, lines and animations."""


def tone(stage: SeedStage) -> str:
    """Returns the colour of a stage."""
    return f"var(--{TONES[stage]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The size of a picture, and its time.

    Attributes:
        width: Of the whole picture.
        epochs: Of the episode, at least one.
    """

    width: int
    epochs: int

    @property
    def right(self) -> int:
        """Right edge of everything in the picture."""
        return self.width - 30

    def percent(self, epoch: float) -> float:
        """Returns when the animation reaches the end of an epoch, in percent of its duration."""
        return SWEEP * epoch / self.epochs
