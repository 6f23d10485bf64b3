"""Instructor's lookup and store within an observed call: what came of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from llm_cache_otel.facts import (
    BackendFacts,
    InferenceResponse,
    Interval,
    LookupFacts,
    Operation,
    Scope,
    SpanRole,
    StoreFacts,
)
from llm_cache_otel.observe.adapter import entry_size
from llm_cache_otel.observe.errors import error_type, is_interrupt
from llm_cache_otel.observe.inference_response import inference_response, response_id
from llm_cache_otel.observe.stores import ADAPTER

if TYPE_CHECKING:
    from llm_cache_otel.observe.call import Call

Args = tuple[Any, ...]

AskedInMemory = tuple[int, int, Operation, Any, BaseException | str | None]
"""When a cache was asked, in readings of `time.perf_counter_ns`, and for what; the entry that it gave, or the
arguments that it was to set one with; and what it raised, which is made a name before long."""


class CacheUse:
    """What one of Instructor's helpers did, called with the cache, the key, and in a lookup the model.

    Times are readings of `time.perf_counter_ns`. Who runs the helper notes them, and how the cache was asked:
    in memory as it was, and elsewhere as facts.
    """

    # There is no `__init__`: a hit waits for each function that it runs through.
    where: ClassVar[str]
    """For a guard."""

    role: ClassVar[SpanRole]
    start = end = 0
    in_memory: AskedInMemory | None = None
    asked: BackendFacts | None = None
    scope: Scope | None = None
    _error_type: str | None = None

    def began(self, call: Call) -> int:
        return self.start

    def _when(self, call: Call) -> tuple[int, int] | None:
        """When the cache was asked; `None` if it was not."""
        if self.in_memory is not None:
            return self.in_memory[:2]
        if self.asked is None:
            return None
        during = call.clock.of_process(self.asked.interval)
        return during.start_ns, during.end_ns

    def _backend(self, call: Call) -> BackendFacts | None:
        if self.in_memory is None:
            return self.asked
        start, end, operation, given, error = self.in_memory
        hit = ttl = None
        if operation is Operation.SET:
            asked = ADAPTER["set"].asked(*given)
            given, ttl = asked.value, asked.ttl
        elif error is None:
            hit = given is not None
        return BackendFacts(
            operation=operation,
            interval=call.clock.between(start, end),
            backend=call.backend or "",
            name=call.name,
            hit=hit,
            entry_size=entry_size(given),
            ttl=ttl,
            error_type=error if isinstance(error, str) else None,
        )


class Lookup(CacheUse):
    """From the start of the key function to the model read back from the entry."""

    where = "lookup"
    role = SpanRole.LOOKUP
    _key: object = None
    _is_hit = _is_interrupted = False
    _stored: InferenceResponse | None = None

    def began(self, call: Call) -> int:
        return self.start if call.keyed is None else call.keyed[0]

    def failed(self, call: Call, args: Args, error: BaseException) -> None:
        call.lookup = self
        self._error_type = error_type(error)
        self._is_interrupted = is_interrupt(error)
        call.prepared(args[2] if len(args) > 2 else None)

    def returned(self, call: Call, args: Args, result: Any) -> None:
        call.lookup = self
        self._key = args[1] if len(args) > 1 else None
        if result is not None:
            self._is_hit = True
            try:
                raw = getattr(result, "_raw_response", None)
                name = getattr(raw, "id", None)  # as most have it
                if type(name) is not str or not name:
                    name = response_id(raw)
                # Unless what it took is known: a hit should cost little.
                if call.key is None or not call.reporter.knows(call.key, name):
                    self._stored = inference_response(raw)
            except Exception as failure:
                if not call.reporter.guard.swallows("stored response", failure):
                    raise
            if self.in_memory is not None:
                return  # nobody needs to know at once
        else:
            call.prepared(args[2] if len(args) > 2 else None)
        when = self.in_memory or self._when(call)
        if isinstance(self._key, str) and when is not None:
            call.looked_up(self._key, when[0], when[1], is_hit=self._is_hit)

    def facts(self, call: Call) -> LookupFacts:
        when = self._when(call)
        if self._is_hit and when is not None and isinstance(self._key, str):
            with call.reporter.guard("history"):
                call.found_in_memory(self._key, *when)
        return LookupFacts(
            interval=call.clock.between(self.began(call), self.end),
            hit=self._is_hit,
            get=self._backend(call),
            stored=self._stored,
            error_type=self._error_type,
            interrupted=self._is_interrupted,
            scope=self.scope,
        )


class Store(CacheUse):
    """The model written as JSON, and `set`."""

    where = "store"
    role = SpanRole.STORE

    def failed(self, call: Call, args: Args, error: BaseException) -> None:
        call.store = self
        self._error_type = error_type(error)

    def returned(self, call: Call, args: Args, result: Any) -> None:
        call.store = self
        when, key = self.in_memory or self._when(call), args[1] if len(args) > 1 else None
        if call.history is not None and isinstance(key, str) and when is not None:
            ttl = None if self.asked is None else self.asked.ttl  # memory knows none
            call.history.stored(key, Interval(when[0], when[1]), ttl)

    def facts(self, call: Call) -> StoreFacts:
        return StoreFacts(
            interval=call.clock.between(self.start, self.end),
            set=self._backend(call),
            error_type=self._error_type,
            scope=self.scope,
        )
