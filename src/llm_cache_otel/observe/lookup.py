"""Instructor's lookup and store within an observed call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from llm_cache_otel.facts import (
    AnswerKind,
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
from llm_cache_otel.observe.response_model import prepared_answer
from llm_cache_otel.observe.step import NOWHERE, Aside, Surroundings, surroundings
from llm_cache_otel.observe.store_methods import store_methods
from llm_cache_otel.observe.stores import Asked, Method

if TYPE_CHECKING:
    from llm_cache_otel.observe.call import Call


_Asked = tuple[int, int, Operation, bool | None, int | None, float | None, str | None]
"""Start and end, the operation, whether it hit, the size, the TTL, an error's type: as in `BackendFacts`."""


class _CacheStep:
    """What lookup and store share: a span of their own around a tapped adapter.

    Not so in memory, where nobody waits and nobody else is asked: there it is a part of the call's.
    """

    def __init__(self, call: Call, role: SpanRole, start: int) -> None:
        self._call: Call | None = call
        self._asked: BackendFacts | _Asked | None = None
        self._start = self._end = start
        self._error_type: str | None = None
        self._scope: Scope | None = None
        if not call.is_in_memory:
            self._scope = call.reporter.open(Opening(role, call.clock.at(start)), call.scope)
        around = surroundings.get(NOWHERE)
        is_plain = self._scope is None and around.listener is None and not around.busy
        self._surroundings = Aside() if is_plain else Surroundings(scope=self._scope)
        self.enter = self._surroundings.enter

    def tapped(self, cache: Any) -> Tap | MemoryTap:
        """What Instructor's helper is to use in the adapter's place."""
        call = self._call
        assert call is not None
        if call.asks_nobody:
            return MemoryTap(cache, call.guard, self._done_in_memory)
        return Tap(cache, call.guard, self._backend_step)

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
        hit = ttl = None
        if method.operation is Operation.SET:
            asked = method.asked(args, kwargs)
            value, ttl = asked.value, asked.ttl
        elif error is None:
            hit = value is not None
        failure = None if error is None else error_type(error)
        is_plain = type(value) is str and value.isascii()
        size = len(value) if is_plain else entry_size(value)
        self._asked = start, end, method.operation, hit, size, ttl, failure

    def _backend_step(self, operation: Operation, cache: object, asked: Asked) -> BackendStep:
        call = self._call
        assert call is not None
        return BackendStep(
            operation,
            cache,
            asked,
            backend=call.backend or "",
            name=call.name,
            clock=call.clock,
            done=self._backend_done,
        )

    def _backend_done(self, facts: BackendFacts, entry: Any, dropped: bool) -> None:  # noqa: FBT001
        self._asked = facts

    def _when(self, call: Call) -> Interval | None:
        """When the cache was asked, in readings of `time.perf_counter_ns`; `None` if it was not."""
        asked = self._asked
        if isinstance(asked, tuple):
            return Interval(asked[0], asked[1])
        return None if asked is None else call.clock.of_process(asked.interval)

    def _backend(self, call: Call) -> BackendFacts | None:
        asked = self._asked
        if not isinstance(asked, tuple):
            return asked
        start, end, operation, hit, size, ttl, failure = asked
        return BackendFacts(
            operation=operation,
            interval=call.clock.between(start, end),
            backend=call.backend or "",
            name=call.name,
            hit=hit,
            entry_size=size,
            ttl=ttl,
            error_type=failure,
        )

    def leave(self) -> None:
        self._end = time.perf_counter_ns()
        self._surroundings.leave()


class Lookup(_CacheStep):
    """From the start of the key function to the model read back from the entry."""

    def __init__(self, call: Call, key: Any = None, response_model: Any = None) -> None:
        self._key = key
        self._is_hit = False
        self._stored: InferenceResponse | None = None
        if call.keyed is None and call.answer is AnswerKind.MODEL:
            # Where the key function is not seen, which is told the same.
            call.answer = prepared_answer(response_model)
        super().__init__(
            call, SpanRole.LOOKUP, time.perf_counter_ns() if call.keyed is None else call.keyed[0]
        )

    def failed(self, error: BaseException) -> None:
        self._error_type = error_type(error)
        call, self._call = self._call, None
        if call is not None:
            call.lookup = self

    def returned(self, found: Any) -> None:
        call = self._call
        if call is None:
            return
        if found is not None:
            self._is_hit = True
            try:
                self._stored = self._stored_with(call, found)
            except Exception as failure:
                if not call.guard.swallows("stored response", failure):
                    raise
        try:
            asked = self._asked
            got = Interval(*asked[:2]) if isinstance(asked, tuple) else self._when(call)
            if isinstance(self._key, str) and got is not None:
                call.looked_up(self._key, got, is_hit=self._is_hit)
        except Exception as failure:
            if not call.guard.swallows("history", failure):
                raise
        self._call = None  # no cycle
        call.lookup = self

    def facts(self, call: Call) -> LookupFacts:
        return LookupFacts(
            interval=call.clock.between(self._start, self._end),
            hit=self._is_hit,
            get=self._backend(call),
            stored=self._stored,
            error_type=self._error_type,
            scope=self._scope,
        )

    def _stored_with(self, call: Call, found: Any) -> InferenceResponse | None:
        """What an entry keeps of its response, unless what it took is known: a hit should cost little."""
        stored = getattr(found, "_raw_response", None)
        if call.key is not None and call.reporter.knows(call.key, sdk.response_id(stored)):
            return None
        return sdk.inference_response(stored)


class Store(_CacheStep):
    """The model written as JSON, and `set`."""

    def __init__(self, call: Call, key: Any = None) -> None:
        self._key = key
        super().__init__(call, SpanRole.STORE, time.perf_counter_ns())

    def tapped(self, cache: Any) -> Tap | MemoryTap:
        if self._call is not None and store_methods.get(cache) is not None:
            self._call.asks_nobody = False  # by itself, since the call began
        return super().tapped(cache)

    def failed(self, error: BaseException) -> None:
        self._error_type = error_type(error)
        self._finish()

    def returned(self, nothing: Any) -> None:
        call = self._call
        if call is not None:
            with call.guard("history"):
                self._note(call)
        self._finish()

    def _finish(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.store = self

    def facts(self, call: Call) -> StoreFacts:
        return StoreFacts(
            interval=call.clock.between(self._start, self._end),
            set=self._backend(call),
            error_type=self._error_type,
            scope=self._scope,
        )

    def _note(self, call: Call) -> None:
        during = self._when(call)
        if call.history is not None and isinstance(self._key, str) and during is not None:
            assert self._asked is not None
            ttl = self._asked[5] if isinstance(self._asked, tuple) else self._asked.ttl
            call.history.stored(self._key, during, ttl)
