"""The front door for `opentelemetry-instrument`: every client, without a line changed."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Collection
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, ClassVar

import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from llm_cache_otel.arguments import check_arguments
from llm_cache_otel.emit.log import logger
from llm_cache_otel.instrument import instrument_all, uninstrument_all
from llm_cache_otel.outside import is_the_hosts

_INSTRUCTOR = "instructor"
_AT_WORK = "instructor.v2.core.patch"
"""Since 1.15.3 `import instructor` brings next to nothing, and whatever can be observed brings this."""

_ARGUMENTS = ("tracer_provider", "meter_provider", "settings")


class LLMCacheInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Observes every client that Instructor makes, sync and async, and those that it has made.

    `opentelemetry-instrument` finds it by its entry point, `llm_cache`; `instrument()` and `uninstrument()`
    do the same in a program, any number of times. Instructor is not imported for it: a program that
    never does so is left as it is. A client that is given to `llm_cache_otel.instrument` too counts once,
    with what it was told there.
    """

    _instrumented = False
    _opened = False
    _awaited: ClassVar[set[str]] = set()
    _arguments: dict[str, Any]

    def instrumentation_dependencies(self) -> Collection[str]:
        return ("instructor >= 1.10, < 2",)

    def _instrument(self, **kwargs: Any) -> None:
        """Start observing.

        Args:
            tracer_provider: as of `llm_cache_otel.instrument`.
            meter_provider: likewise.
            settings: `llm_cache_otel.Settings`, by default read from the environment.

        Raises:
            TypeError: an argument is none of these, or of another type.
        """
        for name in kwargs:
            if name not in _ARGUMENTS:
                raise TypeError(
                    f"LLMCacheInstrumentor().instrument() takes {', '.join(_ARGUMENTS)}, not {name}"
                )
        self._arguments = {name: kwargs.get(name) for name in _ARGUMENTS}
        check_arguments(**self._arguments)
        self._instrumented = True
        self._open_with(_INSTRUCTOR)

    def _uninstrument(self, **kwargs: Any) -> None:
        self._instrumented = False
        if self._opened:
            self._opened = False
            uninstrument_all()

    def _open_with(self, name: str) -> None:
        if name in sys.modules:
            self._imported(sys.modules[name])
        elif name not in self._awaited:
            self._awaited.add(name)
            wrapt.register_post_import_hook(self._imported, name)

    def _imported(self, module: ModuleType) -> None:
        if not self._instrumented:
            return
        if module.__name__ == _INSTRUCTOR and _comes_in_parts(module):
            self._open_with(_AT_WORK)
        else:
            self._open()

    def _open(self, *, again: bool = False) -> None:
        self._opened = True
        try:
            instrument_all(**self._arguments)
        except Exception as error:  # or the program's own import of Instructor would fail
            if is_the_hosts(error):
                raise
            if isinstance(error, ImportError) and not again:
                # Another thread is in the midst of importing what this needs, and waits for what is
                # being imported here: it has to go on first.
                open_again = functools.partial(self._open, again=True)
                threading.Thread(target=open_again, name="llm_cache_otel-open", daemon=True).start()
            else:
                logger.warning("Instructor can't be observed.", exc_info=True)


def _comes_in_parts(instructor: ModuleType) -> bool:
    """Whether `_AT_WORK` is a module of this Instructor, told without importing a part of it."""
    package, _, _ = _AT_WORK.removeprefix(_INSTRUCTOR).rpartition(".")
    places = [path + package.replace(".", os.sep) for path in instructor.__path__]
    return PathFinder.find_spec(_AT_WORK, places) is not None
