"""Handwritten digits on a small MLP."""

from __future__ import annotations

from esper_leyline import DataSpec, HostTraining, TaskSpec
from esper_tolaria.tasks.whole import whole_task


def digits_task() -> TaskSpec:
    """Digits of 8 by 8 pixels (Alpaydin and Kaynak 1998) on three layers."""
    return whole_task(
        "digits",
        description="handwritten digits of 8 x 8 pixels on an MLP of three 8-wide layers",
        data=DataSpec(
            name="digits",
            source="UCI's optical recognition of handwritten digits, in this package",
            input_shape=(1, 8, 8),
            classes=10,
            train_size=1000,
            validation_size=397,
            test_size=400,
        ),
        training=HostTraining(
            optimizer="adamw",
            learning_rate=0.01,
            seed_learning_rate=0.01,
            weight_decay=1e-4,
            batch_size=50,
        ),
    )
