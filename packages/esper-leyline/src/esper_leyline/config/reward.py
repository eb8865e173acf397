"""What a policy is paid for."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from esper_leyline.ranges import Name, Parameters, Share, Weight
from esper_leyline.wire import Settings

RewardFamily = Literal["contribution", "loss"]

RewardPart = Literal[
    "shaping",
    "attribution",
    "drip",
    "progress",
    "rent",
    "alpha_shock",
    "warnings",
    "intervention",
    "terminal",
]


class RewardConfig(Settings):
    """What the policy is paid for; the formulas are in ``esper_simic.rewards``."""

    mode: Name = Field(
        default="shaped",
        description="shaped, simplified, basic, basic_plus, sparse, minimal, escrow or a plugin's.",
    )
    family: RewardFamily = Field(
        default="contribution",
        description="Pay for measured contributions, or for a falling validation loss.",
    )
    param_budget: Parameters = Field(
        default=500_000, description="Seed parameters without penalty."
    )
    param_penalty_weight: Weight = Field(
        default=0.1, description="Penalty for each further param_budget of seed parameters."
    )
    rent_host_params_floor: Parameters = Field(
        default=200, description="Least host parameters that rent counts with."
    )
    drip_fraction: Share = Field(
        default=0.7,
        description="basic_plus: share of a gain that is paid in equal parts until the horizon.",
    )
    shaping_weight: Weight = Field(
        default=0.3, description="Weight of the potential-based shaping."
    )
    shaping_epoch_bonus: Weight = Field(
        default=0.3, description="Potential of each epoch in a stage."
    )
    shaping_epoch_cap: Weight = Field(
        default=2.0, description="Most potential that the epochs in a stage add up to."
    )
    attribution_weight: Weight = Field(
        default=1.0, description="Weight of the seeds' contributions."
    )
    attribution_live_share: Share = Field(
        default=0.2,
        description="Share of a contribution that is paid before the seed is fossilized.",
    )
    rent_weight: Weight = Field(
        default=0.05, description="Weight of the rent for grown parameters."
    )
    rent_cap: Weight = Field(default=0.5, description="Most rent of a step.")
    alpha_shock_weight: Weight = Field(
        default=0.05, description="Weight of the penalty for jumps of alpha."
    )
    warning_weight: Weight = Field(
        default=0.1, description="Penalty for each warning, such as a rejected action."
    )
    intervention_cost: Weight = Field(default=0.01, description="Cost of every op except WAIT.")
    terminal_accuracy_weight: Weight = Field(
        default=3.0, description="Weight of the accuracy at the end of an episode."
    )
    terminal_fossil_bonus: Weight = Field(
        default=0.5, description="Bonus at the end for each contributing fossilized seed."
    )
    simplified_fossil_bonus: Weight = Field(
        default=2.0, description="simplified: bonus for each contributing fossilized seed."
    )
    loss_weight: Weight = Field(
        default=1.0, description="Family loss: pay for a fall of the validation loss by one nat."
    )
    ablate: tuple[RewardPart, ...] = Field(
        default=(),
        strict=False,
        max_length=len(get_args(RewardPart)),
        description="Parts of the mode to switch off.",
    )
