"""The programs that read a run while it trains: their flags are checked before it begins."""

from __future__ import annotations

from esper_leyline import TrainingConfig
from esper_train.pages import check_pages
from esper_train.settings.options import TelemetryOptions
from esper_train.wandb_reader import check_wandb


def check_readers(telemetry: TelemetryOptions, config: TrainingConfig) -> None:
    """Checks the flags of the page and of Weights & Biases before anything is created.

    Raises:
        EsperError: If they cannot be used.
    """
    check_wandb(telemetry, config)
    check_pages(telemetry, config)
