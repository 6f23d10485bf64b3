"""Instructor's lookup and store within an observed call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_cache_otel.facts import (
    BackendFacts,
    InferenceResponse,
    Interval,
    LookupFacts,
    Opening,
    Operation,
    Scope,
    SpanRole,
    StoreFacts,
)
from llm_cache_otel.observe import sdk
from llm_cache_otel.observe.adapter import entry_size
from llm_cache_otel.observe.backend import BackendStep, MemoryTap, Tap
from llm_cache_otel.observe.errors import error_type
from llm_cache_otel.observe.step import Surroundings
from llm_cache_otel.observe.store_methods import store_methods
from llm_cache_otel.observe.stores import Asked, Method

if TYPE_CHECKING:
    from llm_cache_otel.observe.call import Call


class _CacheStep:
    """What lookup and store share: a span of their own around a tapped adapter.

    Not so in memory, where nobody waits and nobody else is asked: there it is a part of the call's.
    """

    def __init__(self, call: Call, role: SpanRole, start_ns: int) -> None:
        self._call = call
        self._backend: BackendFacts | None = None
        self._start_ns = start_ns
        self._end_ns = start_ns
        self._scope: Scope | None = None
        if not call.is_in_memory:
            self._scope = call.reporter.open(Opening(role, start_ns), call.scope)
        self._surroundings = Surroundings(scope=self._scope)

    def tapped(self, cache: Any) -> Tap | MemoryTap:
        """What Instructor's helper is to use in the adapter's place."""
        if self._call.asks_nobody:
            return MemoryTap(cache, self._call.guard, self._done_in_memory)
        return Tap(cache, self._call.guard, self._backend_step)

    def _done_in_memory(
        self,
        method: Method,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        value: Any,
        error: BaseException | None,
        start: int,
        end: int,
    ) -> None:
        call, clock = self._call, self._call.clock
        hit = ttl = None
        if method.operation is Operation.SET:
            asked = method.asked(args, kwargs)
            value, ttl = asked.value, asked.ttl
        elif error is None:
            hit = value is not None
        self._backend = BackendFacts(
            operation=method.operation,
            interval=Interval(clock.at(start), clock.at(end)),
            backend=call.backend or "",
            name=call.name,
            hit=hit,
            entry_size=entry_size(value),
            ttl=ttl,
            error_type=None if error is None else error_type(error),
        )

    def _backend_step(self, operation: Operation, cache: object, asked: Asked) -> BackendStep:
        return BackendStep(
            operation,
            cache,
            asked,
            backend=self._call.backend or "",
            name=self._call.name,
            clock=self._call.clock,
            done=self._backend_done,
        )

    def _backend_done(self, facts: BackendFacts, entry: Any, dropped: bool) -> None:  # noqa: FBT001
        self._backend = facts

    def enter(self) -> None:
        self._surroundings.enter()

    def leave(self) -> None:
        self._end_ns = self._call.clock.now()
        self._surroundings.leave()


class Lookup(_CacheStep):
    """From the start of the key function to the model read back from the entry."""

    def __init__(self, call: Call, key: Any = None, response_model: Any = None) -> None:
        self._key = key
        start_ns = call.clock.now() if call.key is None else call.key.interval.start_ns
        if call.key is None:  # where the key function is not seen, which is told the same
            call.prepared(response_model)
        super().__init__(call, SpanRole.LOOKUP, start_ns)

    def failed(self, error: BaseException) -> None:
        self._finish(None, error)

    def returned(self, found: Any) -> None:
        self._finish(found, None)

    def _finish(self, found: Any, error: BaseException | None) -> None:
        stored = None
        if found is not None:
            try:
                stored = self._stored_with(found)
            except Exception as failure:
                if not self._call.guard.swallows("stored response", failure):
                    raise
        if error is None:
            try:
                self._note(is_hit=found is not None)
            except Exception as failure:
                if not self._call.guard.swallows("history", failure):
                    raise
        self._call.lookup = LookupFacts(
            interval=Interval(self._start_ns, self._end_ns),
            hit=found is not None,
            get=self._backend,
            stored=stored,
            error_type=None if error is None else error_type(error),
            scope=self._scope,
        )

    def _note(self, *, is_hit: bool) -> None:
        if isinstance(self._key, str) and self._backend is not None:
            got = self._call.clock.of_process(self._backend.interval)
            self._call.looked_up(self._key, got, is_hit=is_hit)

    def _stored_with(self, found: Any) -> InferenceResponse | None:
        """What an entry keeps of its response, unless what it took is known: a hit should cost little."""
        key, stored = self._call.key, getattr(found, "_raw_response", None)
        if key is not None and key.key is not None:
            response_id = sdk.response_id(stored)
            if self._call.reporter.knows(key.key, response_id):
                return None
        return sdk.inference_response(stored)


class Store(_CacheStep):
    """The model written as JSON, and `set`."""

    def __init__(self, call: Call, key: Any = None) -> None:
        self._key = key
        super().__init__(call, SpanRole.STORE, call.clock.now())

    def tapped(self, cache: Any) -> Tap | MemoryTap:
        if store_methods.get(cache) is not None:  # by itself, since the call began
            self._call.asks_nobody = False
        return super().tapped(cache)

    def failed(self, error: BaseException) -> None:
        self._finish(error)

    def returned(self, nothing: Any) -> None:
        self._finish(None)

    def _finish(self, error: BaseException | None) -> None:
        if error is None:
            with self._call.guard("history"):
                self._note()
        self._call.store = StoreFacts(
            interval=Interval(self._start_ns, self._end_ns),
            set=self._backend,
            error_type=None if error is None else error_type(error),
            scope=self._scope,
        )

    def _note(self) -> None:
        history, backend = self._call.history, self._backend
        if history is not None and isinstance(self._key, str) and backend is not None:
            during = self._call.clock.of_process(backend.interval)
            history.stored(self._key, during, backend.ttl)
