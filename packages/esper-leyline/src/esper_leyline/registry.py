"""Named parts that installed distributions add: rewards, tasks, controllers, sinks, blueprints.

A distribution adds a part with an entry point in its ``pyproject.toml``:

    [project.entry-points."esper.rewards"]
    my_reward = "my_package.rewards:MY_REWARD"

Names are read from the metadata of the installed distributions, so listing them imports nothing; a
part is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from esper_leyline.errors import EsperError, LeylineError, show_text, unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """Parts of one kind by name.

    Args:
        noun: What a part is called in errors, such as ``"task"``.
        group: The entry-point group, such as ``"esper.tasks"``.
        check: Returns the part as it is used, given what an entry point refers to. It raises an
            ``EsperError`` that says what is wrong where that is not a part of this kind.
    """

    def __init__(self, noun: str, group: str, check: Callable[[str, object], T]) -> None:
        self.noun = noun
        self.group = group
        self._check = check
        self._registered: dict[str, T] = {}
        self._loaded: dict[str, T] = {}

    def names(self) -> tuple[str, ...]:
        """Returns every name in alphabetical order; imports no part."""
        return tuple(sorted({*self._registered, *_declared(self.group)}))

    def __contains__(self, name: object) -> bool:
        """Whether there is a part of this name; imports no part."""
        return name in self._registered or name in _declared(self.group)

    def check_built_in(self, name: str) -> None:
        """Checks that no distribution adds a part with the name of a built-in one.

        Raises:
            LeylineError: If there is one.
        """
        if name in self:
            raise LeylineError(
                f"a plugin adds a {self.noun} called '{name}', which is built in; uninstall it"
            )

    def register(self, name: str, part: object, *, replace: bool = False) -> T:
        """Adds a part to this process only, for instance in a notebook or a test.

        Worker processes do not see it; declare an entry point for parts that they use.

        Args:
            name: Its name.
            part: What an entry point would refer to.
            replace: Whether a part that was registered under this name before is replaced.

        Returns:
            The part as it is used.

        Raises:
            EsperError: If the name is taken, or the part is not of this kind.
        """
        if name in _declared(self.group) or (name in self._registered and not replace):
            raise LeylineError(f"{self.noun} '{name}' exists already; choose another name")
        self._registered[name] = self._check(name, part)
        return self._registered[name]

    def unregister(self, name: str) -> None:
        """Removes a part that ``register`` added, if there is one of this name."""
        self._registered.pop(name, None)

    def get(self, name: str) -> T:
        """Returns a part, and imports it on first use.

        Raises:
            EsperError: If there is no part of this name, two distributions declare it, or it
                cannot be imported or used.
        """
        if name in self._registered:
            return self._registered[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> T:
        declared = _declared(self.group).get(name, ())
        if not declared:
            if not self.names():
                raise LeylineError(
                    f"unknown {self.noun} '{show_text(name)}'; no installed distribution adds one "
                    f"(entry points of {self.group})"
                )
            raise LeylineError(unknown_name(self.noun, name, self.names()))
        if len(declared) > 1:
            named = " and ".join(sorted(map(_distribution, declared)))
            raise LeylineError(
                f"{self.noun} '{name}' is declared by {named}; uninstall all but one of them"
            )
        (entry,) = declared
        try:
            part = entry.load()
        # A plugin may raise anything while it is imported.
        except Exception as error:
            raise LeylineError(
                f"{self.noun} '{name}' of {_distribution(entry)} cannot be imported: "
                f"{type(error).__name__}: {show_text(str(error))}"
            ) from error
        try:
            return self._check(name, part)
        except EsperError as error:
            raise LeylineError(
                f"{self.noun} '{name}' of {_distribution(entry)} cannot be used: {error}"
            ) from error


def check_callable(part: object, form: str) -> Callable[..., Any]:
    """Returns what an entry point refers to, if it can be called.

    Args:
        part: The object.
        form: What it should be, in words, such as ``"a function that takes a Path"``.

    Raises:
        LeylineError: If it cannot.
    """
    if not callable(part):
        raise LeylineError(f"it is a {type(part).__name__}; an entry point refers to {form}")
    return part


@cache
def _declared(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Returns the entry points of a group by name; one distribution counts once per name."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in entry_points(group=group):
        found.setdefault(entry.name, {}).setdefault(_distribution(entry), entry)
    return {name: tuple(entries.values()) for name, entries in found.items()}


def _distribution(entry: EntryPoint) -> str:
    return "an unnamed distribution" if entry.dist is None else entry.dist.name
