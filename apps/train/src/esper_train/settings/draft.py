"""A configuration that is put together layer by layer, and where each of its values comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from esper_leyline import ConfigError, TrainingConfig, override
from esper_leyline.config.overrides import flatten_config
from esper_tolaria import find_task
from esper_train.errors import TrainError
from esper_train.settings.flags import settings
from esper_train.settings.given import Given, nest_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A configuration in the making: defaults, then each layer over what is there.

    Attributes:
        config: The configuration so far.
        origins: Where its values come from, by dotted key: ``preset digits``, ``--rounds``. Values
            without an origin are defaults.
        given: The user's settings, once they are in the configuration.
        notes: One line for each choice that the user did not make.
    """

    config: TrainingConfig = field(default_factory=TrainingConfig)
    origins: Mapping[str, str] = field(default_factory=dict)
    given: Given = field(default_factory=Given)
    notes: tuple[str, ...] = ()

    @classmethod
    def start(cls, config: TrainingConfig, origin: str, *notes: str) -> Self:
        """Starts from a whole configuration; what it does not set are defaults."""
        keys = flatten_config(config.model_dump(mode="json", exclude_unset=True))
        return cls(config=config, origins=dict.fromkeys(keys, origin), notes=notes)

    def set(self, values: Mapping[str, Any], origin: str, *notes: str) -> Self:
        """Returns the draft with some values, by dotted key, replaced."""
        return replace(
            self,
            config=override(self.config, nest_keys(values)),
            origins={**self.origins, **dict.fromkeys(values, origin)},
            notes=self.notes + notes,
        )

    def give(self, given: Given) -> Self:
        """Returns the draft with the user's settings.

        Raises:
            EsperError: If a value does not fit; names the flag that gave it.
        """
        draft = self
        if any(key.startswith("host.") for key in given.values):
            draft = draft.with_host(given.task)
        try:
            config = override(draft.config, nest_keys(given.values))
        except ConfigError as error:
            raise TrainError(_name_flags(str(error), given)) from None
        return replace(
            draft, config=config, origins={**draft.origins, **given.sources}, given=given
        )

    def with_host(self, task: str | None = None) -> Self:
        """Returns the draft with the training of hosts that it leaves to the task."""
        if self.config.host is not None:
            return self
        spec = find_task(task or self.config.task).spec
        return self.set(
            flatten_config({"host": spec.training.model_dump(mode="json")}), f"task {spec.name}"
        )

    def origin(self, key: str) -> str:
        """Returns where the value of a key comes from."""
        parts = key.split(".")
        keys = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((self.origins[each] for each in keys if each in self.origins), "default")


def _name_flags(message: str, given: Given) -> str:
    """Replaces keys by the flags that set them; puts ``--set`` before the message."""
    by_set = False
    for key, source in given.sources.items():
        if source.startswith("--set "):
            by_set = True
            continue
        # Of a value by name, an error may name the whole: 'policy.floors'.
        whole = key.rpartition(".")[0] if key not in settings() else key
        quoted = re.compile(rf"'({re.escape(key)}(\.\d+)?|{re.escape(whole)})'")
        if quoted.search(message):
            return quoted.sub(source, message)
    return f"--set: {message}" if by_set else message
