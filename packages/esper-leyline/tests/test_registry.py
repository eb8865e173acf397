"""Parts are found by name among the entry points of installed distributions."""

from __future__ import annotations

import sys

import pytest

from esper_leyline import LeylineError, Registry
from esper_leyline.registry import _declared

GROUP = "esper.test_numbers"


def _number(name: str, part: object) -> int:
    if not isinstance(part, int):
        raise LeylineError(f"it is a {type(part).__name__}, not a number")
    return part


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs distributions as pip would: metadata and a module on ``sys.path``."""
    monkeypatch.syspath_prepend(tmp_path)
    _declared.cache_clear()

    def put(distribution: str, code: str, **entries: str) -> None:
        module = distribution.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        folder = tmp_path / f"{module}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {distribution}\nVersion: 1.0\n")
        lines = [f"{name} = {module}:{target}" for name, target in entries.items()]
        (folder / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
        _declared.cache_clear()

    yield put
    _declared.cache_clear()
    for module in [name for name in sys.modules if name.startswith("plugin_")]:
        del sys.modules[module]


@pytest.fixture
def numbers() -> Registry[int]:
    return Registry("number", GROUP, _number)


def test_names_are_listed_without_importing_anything(install, numbers):
    install("plugin-one", "raise RuntimeError('imported')", two="TWO", one="ONE")
    numbers.register("three", 3)
    assert numbers.names() == ("one", "three", "two")
    assert "two" in numbers
    assert "four" not in numbers
    assert "plugin_one" not in sys.modules


def test_a_part_is_imported_once_when_it_is_used(install, numbers):
    install("plugin-one", "ONE = 1", one="ONE")
    assert numbers.get("one") == 1
    sys.modules["plugin_one"].ONE = 9
    assert numbers.get("one") == 1


def test_a_part_of_this_process_can_be_replaced_and_removed(numbers):
    assert numbers.register("seven", 7) == 7
    with pytest.raises(LeylineError, match="number 'seven' exists already; choose another name"):
        numbers.register("seven", 8)
    numbers.register("seven", 8, replace=True)
    assert numbers.get("seven") == 8
    numbers.unregister("seven")
    assert "seven" not in numbers
    with pytest.raises(LeylineError, match="it is a str, not a number"):
        numbers.register("text", "text")


def test_the_name_of_an_installed_part_is_taken(install, numbers):
    install("plugin-one", "ONE = 1", one="ONE")
    with pytest.raises(LeylineError, match="'one' exists already"):
        numbers.register("one", 2, replace=True)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("ONE = 'x'", "number 'one' of plugin-one cannot be used: it is a str, not a number"),
        ("TWO = 2", "number 'one' of plugin-one cannot be imported: AttributeError: "),
        ("import nothing_like_this", "of plugin-one cannot be imported: ModuleNotFoundError: "),
        ("raise ValueError('a\\nb')", r"cannot be imported: ValueError: a\\nb$"),
    ],
    ids=["another_kind", "no_such_object", "missing_module", "any_error"],
)
def test_a_broken_part_is_named_with_its_distribution(install, numbers, code, says):
    install("plugin-one", code, one="ONE")
    install("plugin-two", "TWO = 2", two="TWO")
    with pytest.raises(LeylineError, match=says) as caught:
        numbers.get("one")
    assert "\n" not in str(caught.value)
    assert numbers.get("two") == 2


def test_one_name_of_two_distributions_is_refused(install, numbers):
    install("plugin-one", "ONE = 1", one="ONE")
    install("plugin-two", "ONE = 2", one="ONE")
    with pytest.raises(LeylineError, match="declared by plugin-one and plugin-two; uninstall all"):
        numbers.get("one")


def test_an_unknown_name_lists_what_there_is(install, numbers):
    with pytest.raises(LeylineError, match="unknown number 'one'; no installed distribution adds"):
        numbers.get("one")
    install("plugin-one", "ONE = 1", one="ONE")
    with pytest.raises(LeylineError, match=r"unknown number 'ine' \(did you mean 'one'\?\)"):
        numbers.get("ine")
