"""Every setting says what it is: flags and the reference of the configuration are made of it."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from esper_leyline import TrainingConfig


def undescribed(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        parts = (field.annotation, *getattr(field.annotation, "__args__", ()))
        models = [each for each in parts if isinstance(each, type) and issubclass(each, BaseModel)]
        for each in models:
            yield from undescribed(each, f"{prefix}{name}.")
        if not models and not (field.description or "").endswith("."):
            yield f"{prefix}{name}"


def test_every_setting_has_a_description() -> None:
    assert list(undescribed(TrainingConfig)) == []


def test_a_setting_without_one_is_found() -> None:
    class Bare(BaseModel):
        inner: TrainingConfig | None = None
        number: int = 1

    assert list(undescribed(Bare)) == ["number"]
