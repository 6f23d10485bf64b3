"""Functions of ours made to fail, to see that nobody but us notices."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import llm_cache_otel
from llm_cache_otel.later import later


class Sabotage(RuntimeError):
    pass


def functions() -> Iterator[tuple[str, FunctionType]]:
    """Every function and method that this package defines in modules a call passes through."""
    package = llm_cache_otel.__name__ + "."
    for info in pkgutil.walk_packages(llm_cache_otel.__path__, package):
        short = info.name.removeprefix(package)
        if short.startswith("cli"):  # a program of its own
            continue
        module = importlib.import_module(info.name)
        for name, member in vars(module).items():
            if getattr(member, "__module__", None) != info.name:
                continue
            members = vars(member) if inspect.isclass(member) else {"": member}
            if getattr(member, "_is_protocol", False):
                continue
            for method_name, method in members.items():
                function = getattr(method, "fget", None) or getattr(method, "__func__", method)
                written = getattr(getattr(function, "__code__", None), "co_filename", None)
                if inspect.isfunction(function) and written == module.__file__:
                    yield ".".join(filter(None, (short, name, method_name))), function


FUNCTIONS = dict(functions())


class Broken:
    """From `start` on a function raises whenever it runs; counts how often that was."""

    def __init__(self, function: FunctionType) -> None:
        self._function = function
        self._code = function.__code__
        self._name = f"sabotage_{id(self)}"  # two of a module's functions may be broken at once
        # Since Python 3.13 a generator's code is exchanged for a generator's only.
        self._end = "yield" if inspect.isgeneratorfunction(function) else "return"
        self.runs = 0

    def start(self) -> None:
        with contextlib.suppress(Exception):
            later.wait(5)  # what was noted before is said while it still works
        # The code is exchanged rather than the name, so that every reference is reached; a closure's
        # code has to have the same free variables.
        free = ", ".join(self._code.co_freevars)
        body = f"  {free or 0}\n  {self._name}()\n  {self._end}\n"
        source = f"def outer({free}):\n def inner(*a, **k):\n{body} return inner"
        scope: dict[str, Any] = {}
        exec(source, scope)
        self._function.__globals__[self._name] = self._strike
        self._function.__code__ = scope["outer"](*self._code.co_freevars).__code__

    def stop(self) -> None:
        with contextlib.suppress(Exception):
            later.wait(5)  # what has been noted is said while it is still broken
        self._function.__code__ = self._code
        self._function.__globals__.pop(self._name, None)

    def _strike(self) -> None:
        self.runs += 1
        raise Sabotage("ours, and nobody else's business")
