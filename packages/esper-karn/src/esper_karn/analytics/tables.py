"""The tables that hold what logs say: which part of which event becomes which column."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from esper_karn.analytics.source import Source, Table
from esper_leyline.events import PAYLOADS, SCHEMA_VERSION
from esper_leyline.profiles import PERCENTILES


def _named(*names: str, prefix: str = "") -> dict[str, str]:
    return {name: f"{prefix}{name}" for name in names}


_EPOCHS = Source(
    kinds=("epoch_completed",),
    columns=_named(
        *("train_loss", "train_accuracy", "val_loss", "val_accuracy"),
        *("host_parameters", "fossil_parameters", "live_parameters", "wasted_epoch_parameters"),
        prefix="host.",
    ),
)

_SEED_EPOCHS = Source(
    kinds=("epoch_completed",),
    rows="host.seeds",
    columns=_named(
        *("slot", "stage", "blueprint", "style", "alpha", "alpha_target", "epochs_in_stage", "age"),
        *("parameters", "contribution", "contribution_velocity", "interaction_sum"),
        *("stage_improvement", "gradient_norm", "gradient_health"),
        prefix="each.",
    ),
    condition="blueprint IS NOT NULL",
)

_ROUNDS = Source(
    kinds=("round_completed",),
    columns=_named(
        *("episodes", "mean_return", "mean_accuracy", "best_accuracy", "ops", "germinated"),
        *("fossilized", "pruned", "grown_parameters", "rollbacks", "rollback_causes", "seconds"),
        prefix="summary.",
    ),
)

_UPDATES = Source(
    kinds=("ppo_update",),
    columns=_named(
        *("policy_loss", "value_loss", "entropy", "kl", "clip_fraction", "explained_variance"),
        *("gradient_norm", "gradient_kept", "ratio_min", "ratio_max", "advantage_mean"),
        *("advantage_std", "return_mean", "return_std", "lstm_hidden_norm", "lstm_cell_norm"),
        *("q_spread", "learning_rate", "entropy_coefficient", "passes", "skipped"),
        *("head_entropy", "head_kl", "head_gradient_norm"),
    ),
)

_Q_VALUES = Source(
    kinds=("ppo_update",),
    rows="q_values",
    columns=_named("op", "mean", "variance", "valid_steps", prefix="each."),
)

_DECISIONS = Source(
    kinds=("decision",),
    columns={
        **_named("op", prefix="action."),
        "slot": "slot",
        **_named("blueprint", "style", "alpha_curve", prefix="action."),
        "tempo_index": "action.tempo",
        "alpha_target_index": "action.alpha_target",
        "alpha_speed_index": "action.alpha_speed",
        **_named("succeeded", "forced", "reason", "rejection", "value", "q_values"),
        "op_probabilities": "heads.op.probabilities",
        "reward_components": "reward.components",
    },
)

_REWARDS = Source(
    kinds=("decision",),
    rows="reward.components",
    columns={"component": "each.key", "value": "each.value"},
)

_SEED_EVENTS = Source(
    kinds=tuple(kind for kind in PAYLOADS if kind.startswith("seed_")),
    columns={
        "kind": "kind",
        **_named("slot", "source", "target", "blueprint", "parameters", "age", "alpha"),
        "contribution": "contribution",
        "gate": "gate.gate",
        "failed_checks": "gate.failed_checks",
    },
)

_OUTCOMES = Source(
    kinds=("episode_outcome",),
    columns={
        **_named("rng_seed", "episode_return", "ended", "best_val_accuracy"),
        **_named("val_accuracy", "val_loss", prefix="host."),
        **_named("germinated", "fossilized", "pruned"),
        **_named(
            *("host_parameters", "fossil_parameters", "live_parameters"),
            "wasted_epoch_parameters",
            prefix="host.",
        ),
        "reward_components": "reward_components",
    },
)


_TESTS = Source(
    kinds=("test_evaluated",),
    columns=_named("rng_seed", "test_loss", "test_accuracy", "parameters", prefix="result."),
)

_LAYERS = Source(
    kinds=("profile_measured",),
    rows="layers",
    columns={
        "profile": "profile",
        "layer": "each.name",
        "gradient_norm": "each.gradient_norm",
        **{f"gradient_p{each}": f"each.gradient_percentiles.{each}" for each in PERCENTILES},
        **_named("zero_share", "exploding_share", "weight_norm", prefix="each."),
    },
)

_PROFILES = Source(
    kinds=("profile_measured",),
    columns={
        **_named("profile", "class_accuracy"),
        "sharpness": "sharpness.mean_rise",
        "largest_rise": "sharpness.largest_rise",
        **_named("radius", "directions", prefix="sharpness."),
        "seconds": "seconds",
    },
)

_VITALS = Source(
    kinds=("vitals",),
    columns=_named(
        *("cpu_percent", "rss_mb", "memory_mb", "total_memory_mb", "disk_free_mb"),
    ),
)


def _anomaly(kind: str, **columns: str) -> Source:
    return Source(kinds=(kind,), columns={"kind": "kind", **columns, "details": "payload"})


_ANOMALIES = (
    _anomaly("governor_rolled_back", subject="cause", value="loss", threshold="threshold"),
    _anomaly("numerical_instability", subject="where"),
    _anomaly("reward_hacking_suspected", subject="flag.kind", slot="flag.slot"),
    _anomaly("ratio_explosion", value="ratio", threshold="threshold"),
    _anomaly("ratio_collapse", value="ratio", threshold="threshold"),
    _anomaly("value_collapse", value="explained_variance", threshold="threshold"),
    _anomaly("entropy_collapse", subject="head", value="entropy", threshold="threshold"),
    _anomaly("gradient_pathology", subject="where", value="norm", threshold="threshold"),
    _anomaly("performance_degradation", value="current", threshold="best"),
    _anomaly("memory_warning", subject="device", value="used_mb", threshold="total_mb"),
    _anomaly("throughput_warning", value="current", threshold="typical"),
    _anomaly("worker_restarted", subject="reason"),
)

_TABLES = (
    Table(name="epochs", sources=(_EPOCHS,)),
    Table(name="seed_epochs", sources=(_SEED_EPOCHS,)),
    Table(name="rounds", sources=(_ROUNDS,)),
    Table(name="updates", sources=(_UPDATES,)),
    Table(name="q_values", sources=(_Q_VALUES,)),
    Table(name="decisions", sources=(_DECISIONS,)),
    Table(name="rewards", sources=(_REWARDS,)),
    Table(name="seed_events", sources=(_SEED_EVENTS,)),
    Table(
        name="counterfactuals",
        sources=(
            Source(
                kinds=("counterfactual_matrix",),
                rows="configurations",
                columns=_named("active", "accuracy", prefix="each."),
            ),
        ),
    ),
    Table(
        name="shapley",
        sources=(
            Source(
                kinds=("shapley_measured",),
                rows="values",
                columns={"slot": "each.key", "value": "each.value"},
            ),
        ),
    ),
    Table(name="anomalies", sources=_ANOMALIES),
    Table(name="outcomes", sources=(_OUTCOMES,)),
    Table(name="tests", sources=(_TESTS,)),
    Table(name="profiles", sources=(_PROFILES,)),
    Table(name="layers", sources=(_LAYERS,)),
    Table(name="vitals", sources=(_VITALS,)),
)

_PARTLY_TYPED = frozenset({"vitals"})

TYPED_KINDS = (
    frozenset(kind for table in _TABLES for source in table.sources for kind in source.kinds)
    - _PARTLY_TYPED
)
"""Kinds of event that other tables hold; of all others, ``events`` has the payload."""

_EVENTS = Table(
    name="events",
    sources=(
        Source(
            kinds=tuple(sorted(TYPED_KINDS)),
            columns=_named("kind", "coalesced", "run_group"),
        ),
        Source(
            kinds=tuple(sorted(frozenset(PAYLOADS) - TYPED_KINDS)),
            columns=_named("kind", "coalesced", "run_group", "payload"),
        ),
    ),
)

TABLES: Mapping[str, Table] = {table.name: table for table in (_EVENTS, *_TABLES)}
"""Every table by name."""


def format_digest() -> str:
    """Identifies the format of cached tables; it changes with every column and its source."""
    parts = [[table.name, table.definition, table.selects("staged")] for table in TABLES.values()]
    return hashlib.sha256(json.dumps([SCHEMA_VERSION, parts]).encode()).hexdigest()[:16]
