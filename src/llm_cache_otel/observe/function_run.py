"""What of a function's cache in memory is told as calls: runs of the function, and hits at will."""

from __future__ import annotations

import inspect
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from llm_cache_otel.facts import Interval, LookupFacts, Origin
from llm_cache_otel.observe.function_call import FunctionCall, FunctionTarget
from llm_cache_otel.observe.function_key import function_key
from llm_cache_otel.observe.function_request import argument_values
from llm_cache_otel.observe.model_source import ModelSource, model_source

if TYPE_CHECKING:
    from llm_cache_otel.observe.function_cache import CachedFunction

BACKEND = "function"


class Run(FunctionCall):
    """A run of the function itself: its cache has missed, in a lookup that began at `began`."""

    backend = BACKEND

    def __init__(
        self, cached: CachedFunction, args: tuple[Any, ...], kwargs: dict[str, Any], began: int
    ) -> None:
        cached.settle()
        super().__init__(cached.target, args, kwargs)
        self._cached = cached
        self.source: ModelSource | None = None
        self.cache_key: str | None = None
        if cached.size()[1] == 0:
            return  # a cache that holds nothing misses for no other reason
        with self.guard("history"):
            self.cache_key = function_key(args, kwargs, typed=cached.is_typed)
            got = Interval(began, perf_counter_ns())
            self.history = cached.history = self.reporter.history_of(cached, None, _ignores_ttl)
            self.diagnosis = self.history.missed(
                self.cache_key, got, self.request, capacity=cached.full_at
            )

    def lookup(self, error: BaseException | None) -> LookupFacts:
        return LookupFacts(Interval(self._start_ns, self._start_ns), hit=False, get=None)

    def failed(self, error: BaseException) -> None:
        with self.guard("history"):
            if self.history is not None and self.cache_key is not None:
                self.history.ended(self.cache_key)
        self.finish(error)

    def returned(self, result: Any) -> None:
        """Its entry is stored later: until then, others that ask the same wait."""
        arguments = self._arguments
        if inspect.isawaitable(result):
            self.origin = Origin(is_whole=False)  # the work is yet to be done
        self.finish(None)
        with self.guard("model source"):
            model = self.origin.model if self.origin else None
            values = argument_values(self.target.signature, *arguments)
            self.source = model_source(self._cached.function, model, values)


class Hit(FunctionCall):
    """A hit that is told as a call of its own. `began` is of `time.perf_counter_ns`."""

    backend = BACKEND

    def __init__(self, target: FunctionTarget, origin: Origin, began: int) -> None:
        super().__init__(target, (), {}, began=began)
        self.origin = origin

    def lookup(self, error: BaseException | None) -> LookupFacts:
        return LookupFacts(Interval(self._start_ns, self._start_ns), hit=True, get=None)


def _ignores_ttl(cached: object) -> bool:
    return False
