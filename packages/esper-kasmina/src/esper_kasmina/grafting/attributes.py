"""The attributes of a wrapped model, read and written through its wrapper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import Parameter

from esper_kasmina.errors import KasminaError
from esper_kasmina.hosts.base import SlottedHost

_FIXED = frozenset({"model", "sites", "seed_slots"})


class WrapsModel(SlottedHost):
    """Base of hosts around a user's model, ``self.model``.

    What the host does not have itself is the model's, read, set and deleted; so are new
    attributes, items, length and iteration.
    """

    def __getattr__(self, name: str) -> Any:
        """Looks an attribute up here, then in the model."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "model" or "model" not in self.__dict__.get("_modules", {}):
                raise
        return getattr(self.model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute of the host, or else of the model."""
        if not self._is_models(name):
            super().__setattr__(name, value)
            return
        if name in _FIXED:
            raise KasminaError(
                f"{name} of a grafted model cannot be replaced; graft the new model, or set "
                "what is in it"
            )
        setattr(self.model, name, value)

    def __delattr__(self, name: str) -> None:
        """Deletes an attribute of the host, or else of the model."""
        if self._is_models(name) and name not in _FIXED:
            delattr(self.model, name)
        else:
            super().__delattr__(name)

    def __dir__(self) -> list[str]:
        """Lists the attributes of the host and of the model."""
        return sorted({*super().__dir__(), *dir(self.model)})  # type: ignore[no-untyped-call]

    def __bool__(self) -> bool:
        """Is true, as any module without a length."""
        return True

    def __len__(self) -> int:
        """Returns the model's length."""
        return len(cast("Any", self.model))

    def __iter__(self) -> Iterator[Any]:
        """Iterates over the model."""
        return iter(cast("Any", self.model))

    def __contains__(self, item: object) -> bool:
        """Says whether the model contains something."""
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
        if self._is_models(name) and name not in _FIXED:
            self.model.add_module(name, module)
        else:
            super().add_module(name, module)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a buffer to the model."""
        if self._is_models(name):
            self.model.register_buffer(name, tensor, persistent)
        else:
            super().register_buffer(name, tensor, persistent)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter to the model."""
        if self._is_models(name):
            self.model.register_parameter(name, param)
        else:
            super().register_parameter(name, param)

    def _is_models(self, name: str) -> bool:
        """Whether setting a name is the model's business, or that of neither."""
        if "model" not in self.__dict__.get("_modules", {}):
            return False
        if name in _FIXED:
            return True
        if name in self.__dict__ or hasattr(type(self), name):
            return False
        # Libraries mark modules with private attributes of their own.
        return not name.startswith("_") or _has(self.model, name)


def hidden_names(model: nn.Module, wrapper: type[WrapsModel]) -> list[str]:
    """Returns the model's attributes that a wrapper of this class would hide.

    ``model`` is not one of them: it always is the whole model, whose own attribute of that
    name is ``wrapper.model.model``.
    """
    public = {name for name in dir(wrapper) if not name.startswith("_")}
    reserved = {name for name in public if not hasattr(nn.Module, name)} | (_FIXED - {"model"})
    return sorted(name for name in reserved if _has(model, name))


def _has(model: nn.Module, name: str) -> bool:
    """Whether a model has an attribute; does not run its properties."""
    instance = (
        model.__dict__,
        dict(model.named_children()),
        dict(model.named_parameters(recurse=False)),
        dict(model.named_buffers(recurse=False)),
    )
    return any(name in each for each in instance) or hasattr(type(model), name)
