"""The hosts that Esper's tasks are about, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from esper_leyline.specs.hosts import CNNHostSpec, HostSpec, MLPHostSpec, TransformerHostSpec

_IMAGE = (3, 32, 32)
_GREY = (1, 28, 28)
_SIGNAL = (1, 40)

_SIGNAL_HOST = CNNHostSpec(
    input_shape=_SIGNAL, classes=10, widths=(8, 8, 8), kernel=5, pools=(True,) * 3
)

HOST_SPECS: Mapping[str, HostSpec] = MappingProxyType(
    {
        "cifar10": CNNHostSpec(
            input_shape=_IMAGE, classes=10, widths=(8, 16, 32), pools=(True,) * 3
        ),
        "cifar10_deep": CNNHostSpec(
            input_shape=_IMAGE, classes=10, widths=(8, 16, 32, 64, 128), pools=(True,) * 5
        ),
        "cifar10_blind": CNNHostSpec(
            input_shape=_IMAGE, classes=10, widths=(16, 32, 64), kernel=1, pools=(False,) * 3
        ),
        "fashion_mnist": CNNHostSpec(
            input_shape=_GREY, classes=10, widths=(8, 8, 8), pools=(True,) * 3
        ),
        "fashion_mnist_blind": CNNHostSpec(
            input_shape=_GREY, classes=10, widths=(8, 16, 16), kernel=1, pools=(True,) * 3
        ),
        "mnist1d": _SIGNAL_HOST,
        "mnist1d_shuffled": _SIGNAL_HOST,
        "mnist1d_blind": CNNHostSpec(
            input_shape=_SIGNAL, classes=10, widths=(16, 16, 16), kernel=1, pools=(True,) * 3
        ),
        "mnist1d_mlp": MLPHostSpec(input_shape=_SIGNAL, classes=10, widths=(32, 32, 32)),
        "digits": MLPHostSpec(input_shape=(1, 8, 8), classes=10, widths=(8, 8, 8)),
        "topics": TransformerHostSpec(
            vocabulary=256, width=24, heads=2, layers=3, block=64, layers_per_slot=1
        ),
        "tinystories": TransformerHostSpec(
            vocabulary=50_257, width=384, heads=6, layers=6, block=256
        ),
        "gpt_small": TransformerHostSpec(vocabulary=256, width=64, heads=4, layers=4, block=64),
    }
)
"""Descriptions to build hosts from; their parameter counts stand in ``esper-kasmina``'s README."""
