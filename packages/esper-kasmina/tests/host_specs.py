"""The hosts of Tolaria's tasks by name, and two more."""

from __future__ import annotations

from esper_leyline import HostSpec, MLPHostSpec, TransformerHostSpec
from esper_tolaria import find_task, task_names

HOST_SPECS: dict[str, HostSpec] = {name: find_task(name).spec.host for name in task_names()} | {
    "mnist1d_mlp": MLPHostSpec(input_shape=(1, 40), classes=10, widths=(32, 32, 32)),
    "gpt_small": TransformerHostSpec(vocabulary=256, width=64, heads=4, layers=4, block=64),
}
