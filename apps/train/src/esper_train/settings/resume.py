"""What a resumed run may change of the configuration in its checkpoint."""

from __future__ import annotations

from pathlib import Path

from esper_leyline import CheckpointManifest, TrainingConfig
from esper_leyline.config.overrides import flatten_config
from esper_train.errors import TrainError
from esper_train.settings.given import Given
from esper_train.settings.options import SourceOptions

RESUMABLE: tuple[str, ...] = (
    "n_episodes",
    "blueprints",
    "device",
    "devices",
    "workers",
    "data_root",
    "feed",
    "compile",
    "checkpoints",
    "telemetry",
    "ppo.epochs",
    "ppo.minibatches",
    "ppo.chunk_length",
    "ppo.clip",
    "ppo.target_kl",
    "ppo.max_grad_norm",
    "ppo.learning_rate",
    "ppo.learning_rate_final",
    "ppo.learning_rate_anneal_episodes",
    "ppo.value_coefficient",
    "ppo.entropy_coefficient",
    "ppo.entropy_final",
    "ppo.entropy_anneal_episodes",
    "ppo.entropy_multipliers",
)
"""Keys that a resumed run may change; a section stands for every key in it.

All others determine the meaning of a checkpoint's weights and statistics: hosts, actions and
rewards.
"""


def check_resumable(given: Given, source: SourceOptions) -> None:
    """Checks that a resumed run may change the user's settings.

    Raises:
        TrainError: If it may not; names what it may.
    """
    for flag, value in (("--preset", source.preset), ("--config-json", source.config_json)):
        if value is not None:
            raise TrainError(
                f"{flag} {value} does not go with --resume, which takes the config of the "
                "checkpoint; change single settings by flags or by --set"
            )
    for key, name in given.sources.items():
        if not _may_change(key):
            raise TrainError(
                f"{name} cannot change with --resume, which takes the config of the checkpoint; "
                f"these keys may: {', '.join(RESUMABLE)}"
            )


def check_config(path: Path, config: TrainingConfig, manifest: CheckpointManifest) -> None:
    """Checks that a run's config differs from its checkpoint's only in what may change.

    Raises:
        TrainError: If it was edited elsewhere; names the first such key.
    """
    saved, now = (
        flatten_config(each.model_dump(mode="json")) for each in (manifest.config, config)
    )
    for key in sorted({*saved, *now}):
        if saved.get(key) != now.get(key) and not _may_change(key):
            raise TrainError(
                f"config '{path}' has {key} {now.get(key)}, and the checkpoint of the run "
                f"{saved.get(key)}, which cannot change; write that value there again"
            )


def _may_change(key: str) -> bool:
    return any(f"{key}.".startswith(f"{allowed}.") for allowed in RESUMABLE)


def check_rounds_left(path: Path, manifest: CheckpointManifest, wanted: int) -> None:
    """Checks that a round is left to train.

    Raises:
        TrainError: If none is.
    """
    done = manifest.rounds_completed
    if wanted <= done:
        rounds = "1 round" if done == 1 else f"{done} rounds"
        raise TrainError(f"checkpoint '{path}' has {rounds} done; give --rounds more than {done}")


def describe_changes(
    before: TrainingConfig, after: TrainingConfig, given: Given
) -> tuple[str, ...]:
    """Returns a line for each of the user's settings that differs from the checkpoint's."""
    old, new = (flatten_config(each.model_dump(mode="json")) for each in (before, after))
    return tuple(
        f"{key}: {old.get(key)} in the checkpoint, {new.get(key)} from now on"
        for key in given.values
        if old.get(key) != new.get(key)
    )
