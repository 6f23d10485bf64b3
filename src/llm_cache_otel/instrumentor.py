"""The front door for `opentelemetry-instrument`: every client, without a line changed."""

from __future__ import annotations

import sys
from collections.abc import Collection
from types import ModuleType
from typing import Any

import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from llm_cache_otel.emit.log import logger
from llm_cache_otel.instrument import check_arguments, instrument_all, uninstrument_all

_INSTRUCTOR = "instructor"
_ARGUMENTS = ("tracer_provider", "meter_provider", "settings")


class LLMCacheInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Observes every client that Instructor makes, sync and async, and those that it has made.

    `opentelemetry-instrument` finds it by its entry point, `llm_cache`; `instrument()` and `uninstrument()`
    do the same in a program, any number of times. Instructor is not imported for it: a program that
    never does so is left as it is. A client that is given to `llm_cache_otel.instrument` too counts once,
    with what it was told there.
    """

    _first = True
    _instrumented = False
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
        if _INSTRUCTOR in sys.modules:
            self._open()
        elif LLMCacheInstrumentor._first:
            LLMCacheInstrumentor._first = False
            wrapt.register_post_import_hook(self._imported, _INSTRUCTOR)

    def _uninstrument(self, **kwargs: Any) -> None:
        self._instrumented = False
        if _INSTRUCTOR in sys.modules:
            uninstrument_all()

    def _imported(self, module: ModuleType) -> None:
        if self._instrumented:
            self._open()

    def _open(self) -> None:
        try:
            instrument_all(**self._arguments)
        except Exception:  # or the program's own import of Instructor would fail
            logger.warning("Instructor can't be observed.", exc_info=True)
