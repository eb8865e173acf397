"""Base class of a host around a user's model, which gives access to the model's attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import Parameter

from esper_kasmina.errors import KasminaError
from esper_kasmina.hosts.base import SlottedHost

_READ_ONLY = frozenset({"model", "sites", "seed_slots"})
"""Attributes of the wrapper that cannot be replaced after it was built."""


class ModelWrapper(SlottedHost):
    """Base of hosts around a user's model, ``self.model``.

    An attribute that the wrapper does not have is read, set and deleted in the model. New
    attributes, items, length and iteration are the model's too.
    """

    def __getattr__(self, name: str) -> Any:
        """Returns an attribute of the wrapper, or else of the model."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "model" or "model" not in self.__dict__.get("_modules", {}):
                raise
        return getattr(self.model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute of the wrapper if it has one of this name, or else of the model."""
        if not self._belongs_to_model(name):
            super().__setattr__(name, value)
            return
        if name in _READ_ONLY:
            raise KasminaError(
                f"{name} of a grafted model cannot be replaced; graft the new model, or set "
                f"attributes and items of {name}"
            )
        setattr(self.model, name, value)

    def __delattr__(self, name: str) -> None:
        """Deletes an attribute of the wrapper if it has one of this name, or else of the model."""
        if self._belongs_to_model(name) and name not in _READ_ONLY:
            delattr(self.model, name)
        else:
            super().__delattr__(name)

    def __dir__(self) -> list[str]:
        """Lists the attributes of the wrapper and of the model."""
        return sorted({*super().__dir__(), *dir(self.model)})  # type: ignore[no-untyped-call]

    def __bool__(self) -> bool:
        """Returns true, although the class has a length."""
        return True

    def __len__(self) -> int:
        """Returns the model's length."""
        return len(cast("Any", self.model))

    def __iter__(self) -> Iterator[Any]:
        """Iterates over the model."""
        return iter(cast("Any", self.model))

    def __contains__(self, item: object) -> bool:
        """Whether the model contains an item."""
        return item in cast("Any", self.model)

    def __getitem__(self, index: Any) -> Any:
        """Returns an item of the model."""
        return self.model[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        """Sets an item of the model."""
        self.model[index] = value

    def __delitem__(self, index: Any) -> None:
        """Deletes an item of the model."""
        del self.model[index]

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Adds a submodule to the model."""
        if self._belongs_to_model(name) and name not in _READ_ONLY:
            self.model.add_module(name, module)
        else:
            super().add_module(name, module)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a buffer to the model."""
        if self._belongs_to_model(name):
            self.model.register_buffer(name, tensor, persistent)
        else:
            super().register_buffer(name, tensor, persistent)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter to the model."""
        if self._belongs_to_model(name):
            self.model.register_parameter(name, param)
        else:
            super().register_parameter(name, param)

    def _belongs_to_model(self, name: str) -> bool:
        """Whether an attribute is not to be set in the wrapper itself."""
        if "model" not in self.__dict__.get("_modules", {}):
            return False  # the wrapper is being built
        if name in _READ_ONLY:
            return True
        if name in self.__dict__ or hasattr(type(self), name):
            return False
        # Libraries mark a module by setting a private attribute of it.
        return not name.startswith("_") or _has(self.model, name)


def hidden_names(model: nn.Module, wrapper: type[ModelWrapper]) -> list[str]:
    """Returns the model's attributes that could not be read through a wrapper of a class.

    ``model`` is not one of them: the wrapper's attribute ``model`` is the whole model, so the
    model's own attribute of this name is ``wrapper.model.model``.
    """
    public = {name for name in dir(wrapper) if not name.startswith("_")}
    reserved = {name for name in public if not hasattr(nn.Module, name)} | (_READ_ONLY - {"model"})
    return sorted(name for name in reserved if _has(model, name))


def _has(model: nn.Module, name: str) -> bool:
    """Whether a model has an attribute; properties are not evaluated."""
    attributes_of_instance = (
        model.__dict__,
        dict(model.named_children()),
        dict(model.named_parameters(recurse=False)),
        dict(model.named_buffers(recurse=False)),
    )
    return any(name in each for each in attributes_of_instance) or hasattr(type(model), name)
