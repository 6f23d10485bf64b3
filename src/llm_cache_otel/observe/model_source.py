"""Where a function has its model's name from: a cache in front of it does not see that change."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llm_cache_otel.observe.instructor_api import Instructor, default_model


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A variable of a function's surroundings that named `model` when it ran."""

    variable: str
    model: str

    def asked_now(self, function: Callable[..., Any]) -> str | None:
        """The model that it names now; `None` if it names none."""
        return _named(_surroundings(function).get(self.variable))


def model_source(function: Callable[..., Any], model: str | None) -> ModelSource | None:
    """The only variable that names the model which was asked; `None` if there are several, or none."""
    if model is None:
        return None
    around = _surroundings(function)
    found = [name for name in _variables(function) if _named(around.get(name)) == model]
    return ModelSource(found[0], model) if len(found) == 1 else None


def _variables(function: Any) -> Iterator[str]:
    code = inspect.unwrap(function).__code__
    yield from dict.fromkeys((*code.co_names, *code.co_freevars))


def _surroundings(function: Any) -> Mapping[str, Any]:
    function = inspect.unwrap(function)
    names: tuple[str, ...] = function.__code__.co_freevars
    cells = dict(zip(names, function.__closure__ or (), strict=True))
    enclosed = {name: cell.cell_contents for name, cell in cells.items() if _is_filled(cell)}
    return {**function.__globals__, **enclosed} if enclosed else function.__globals__


def _is_filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _named(value: object) -> str | None:
    """A model's name is a text, or what an Instructor client asks for by default."""
    if isinstance(value, Instructor):
        value = default_model(value)
    return value if isinstance(value, str) else None
