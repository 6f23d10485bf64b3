"""Where a function has its model's name from: a cache in front of it does not see that change."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from llm_cache_otel.observe.instructor_api import Instructor, default_model


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A variable of a function's surroundings that named `model` when it ran."""

    variable: str
    model: str


def model_source(
    function: Callable[..., Any], model: str | None, arguments: Collection[object]
) -> ModelSource | None:
    """The only variable that names the model which was asked; `None` if there are several, or none.

    Nor is it one where an argument names the model too, or something that an argument holds, for that may
    be what the function went by.
    """
    if model is None or any(_may_name(argument, model) for argument in arguments):
        return None
    around = _surroundings(function)
    found = [name for name in _variables(function) if _named(around.get(name)) == model]
    return ModelSource(found[0], model) if len(found) == 1 else None


class StaleModels:
    """The sources of a function's models that name others by now. Times are of `time.perf_counter_ns`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._since: dict[ModelSource, tuple[str, int]] = {}

    def look(self, source: ModelSource, now: int) -> None:
        """Note what it names now."""
        asked = _named(_surroundings(self._function).get(source.variable))
        if not asked or asked == source.model:
            self._since.pop(source, None)
        elif self._since.get(source, ("", 0))[0] != asked:
            self._since[source] = asked, now

    def asked(self, source: ModelSource, began: int) -> str | None:
        """The other model that it named already when a hit began, and still did when last looked at."""
        asked, since = self._since.get(source, (None, 0))
        return asked if began >= since else None


def _variables(function: Any) -> list[str]:
    """That it reads, and never sets."""
    function = inspect.unwrap(function)
    enclosed = function.__code__.co_freevars
    read, changed = dict[str, None](), set[str]()
    for step in dis.get_instructions(function):
        action, _, kind = step.opname.partition("_")
        if kind == "GLOBAL" or (kind == "DEREF" and step.argval in enclosed):
            read[step.argval] = None
            if action != "LOAD":
                changed.add(step.argval)
    return [name for name in read if name not in changed]


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
        return default_model(value)
    return value if isinstance(value, str) else None


def _may_name(value: object, model: str) -> bool:
    held = getattr(value, "__dict__", {})
    return any(_named(each) == model for each in (value, *held.values()))
