"""What a user chooses about Weights & Biases; its fields are flags of the same names."""

from __future__ import annotations

import hashlib
import re
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from esper_karn.errors import KarnError
from esper_leyline import show_text
from esper_leyline.extras import require_extra

NAME_LIMIT = 128
"""Most characters of a project, group or name."""

TAG_LIMIT = 64
"""Most characters of a tag."""

Mode = Literal["online", "offline", "disabled"]

_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_FORBIDDEN = re.compile(r"[/\\#?%:\x00-\x1f]")


class WandbOptions(BaseModel):
    """Where a run goes at Weights & Biases, and what goes with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wandb_project: str = Field(default="esper", description="Project. Default: esper.")
    wandb_entity: str | None = Field(default=None, description="Team or user. Default: your own.")
    wandb_tags: tuple[str, ...] = Field(default=(), description="Tags of the run.")
    wandb_group: str | None = Field(
        default=None,
        description="Group of related runs, such as an ablation. Default: that of --dual-ab.",
    )
    wandb_name: str | None = Field(
        default=None, description="Name of the run. Default: its directory's."
    )
    wandb_mode: Mode = Field(
        default="online",
        description="online: upload at once; offline: write files to upload later; disabled: "
        "do nothing. Default: online.",
    )
    wandb_no_code: bool = Field(
        default=False, description="Do not record the git commit and changes since it."
    )
    wandb_no_system: bool = Field(
        default=False, description="Do not record CPU, memory, disk and GPUs."
    )

    @field_validator("wandb_mode", mode="before")
    @classmethod
    def _check_mode(cls, value: object) -> object:
        # Not a ValueError, so that pydantic does not wrap it into several lines of its own.
        if value not in get_args(Mode):
            raise KarnError(
                f"unknown --wandb-mode '{show_text(str(value))}'; "
                f"allowed: {', '.join(get_args(Mode))}"
            )
        return value

    @property
    def enabled(self) -> bool:
        """Whether anything is to be recorded."""
        return self.wandb_mode != "disabled"


def wandb_id(run_id: str) -> str:
    """Returns the id of a run at Weights & Biases: its own where that is allowed there."""
    if _ID.fullmatch(run_id):
        return run_id
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', run_id)[:100]}-{digest}"


def given_flags(options: WandbOptions) -> list[str]:
    """Returns the command line of the options that differ from the defaults."""
    words = []
    for name, info in WandbOptions.model_fields.items():
        value = getattr(options, name)
        if value == info.default:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if not isinstance(value, bool):
            words += value if isinstance(value, tuple) else [value]
    return words


def check_options(options: WandbOptions) -> None:
    """Checks that the library is installed and that it accepts the names.

    Raises:
        EsperError: If not.
    """
    for flag, value in (
        ("--wandb-project", options.wandb_project),
        ("--wandb-entity", options.wandb_entity),
        ("--wandb-group", options.wandb_group),
        ("--wandb-name", options.wandb_name),
    ):
        if value is not None and not 0 < len(value.strip()) <= NAME_LIMIT:
            raise KarnError(
                f"{flag} '{show_text(value)}' has {len(value)} characters; "
                f"use 1 to {NAME_LIMIT}, not only spaces"
            )
    if found := _FORBIDDEN.search(options.wandb_project):
        raise KarnError(
            f"--wandb-project '{show_text(options.wandb_project)}' has a {found[0]!r}; leave out "
            "/ \\ # ? % : and control characters"
        )
    for tag in options.wandb_tags:
        if not 0 < len(tag) <= TAG_LIMIT:
            raise KarnError(
                f"--wandb-tags '{show_text(tag)}' has {len(tag)} characters; use 1 to {TAG_LIMIT}"
            )
    if options.enabled:
        require_extra("--wandb", ["wandb"], extra="wandb", distribution="esper-karn")
