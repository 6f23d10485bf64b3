"""Instructor's lookup and store within an observed call."""

from __future__ import annotations

import time
from contextvars import Token
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

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
from llm_cache_otel.observe.adapter import entry_size
from llm_cache_otel.observe.backend import AskedInMemory, BackendStep, MemoryTap, Tap
from llm_cache_otel.observe.errors import error_type
from llm_cache_otel.observe.inference_response import inference_response, response_id
from llm_cache_otel.observe.step import NOWHERE, Given, Surroundings, surroundings
from llm_cache_otel.observe.store_methods import store_methods
from llm_cache_otel.observe.stores import Asked

if TYPE_CHECKING:
    from llm_cache_otel.observe.call import Call


_Asked = tuple[int, int, Operation, bool | None, int | None, float | None, str | None]
"""Start and end, the operation, whether it hit, the size, the TTL, an error's type: as in `BackendFacts`."""


class _CacheStep:
    """What lookup and store share: a span of their own around a tapped adapter.

    Not so in memory, where nobody waits and nobody else is asked: there it is a part of the call's, and
    nothing else is current meanwhile.
    """

    role: ClassVar[SpanRole]
    noted: AskedInMemory | None = None
    """By the tap, until it is over."""

    _asked: BackendFacts | _Asked | None = None
    _error_type: str | None = None
    _scope: Scope | None = None
    _surroundings: Surroundings | None = None
    _token: Token[Surroundings] | None = None

    def __init__(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Of a helper of Instructor's, called with the cache, the key, and in a lookup the model."""
        self._start = self._end = time.perf_counter_ns()
        self._call: Call | None = call
        self._args, self._kwargs = args, kwargs
        self._key = args[1] if len(args) > 1 else None
        traits, around = call.traits, surroundings.get(NOWHERE)
        is_in_memory = traits is not None and traits.is_plain_auto
        if not is_in_memory:
            start_ns = call.clock.at(self._began(call))
            self._scope = call.reporter.open(partial(Opening, self.role, start_ns), call.scope)
        if not is_in_memory or around.listener is not None or around.busy:
            self._surroundings = Surroundings(scope=self._scope)

    def _began(self, call: Call) -> int:
        return self._start

    def enter(self) -> Given:
        """The arguments with what Instructor's helper is to use in the cache's place."""
        call, args = self._call, self._args
        assert call is not None
        if self._surroundings is None:
            self._token = surroundings.set(NOWHERE)
        else:
            self._surroundings.enter()
        tap: Any
        if call.asks_nobody:
            tap = MemoryTap(args[0])
            tap._self_step = self
        else:
            tap = Tap(args[0], call.reporter.guard, self._backend_step)
        return (tap, *args[1:]), self._kwargs

    def leave(self) -> None:
        self._end = time.perf_counter_ns()
        token = self._token
        if self._surroundings is not None:
            self._surroundings.leave()
        elif token is not None:
            try:  # noqa: SIM105  which takes longer than all of it
                surroundings.reset(token)
            except (RuntimeError, ValueError):
                pass  # as of `Surroundings`
            self._token = None  # no cycle: the call was current before
        noted, self.noted = self.noted, None
        if noted is None:
            return
        method, args, kwargs, value, error, start, end = noted
        hit = ttl = None
        if method.operation is Operation.SET:
            asked = method.asked(args, kwargs)
            value, ttl = asked.value, asked.ttl
        elif error is None:
            hit = value is not None
        size = len(value) if type(value) is str and value.isascii() else entry_size(value)
        failure = None if error is None else error_type(error)
        self._asked = start, end, method.operation, hit, size, ttl, failure

    def _over(self) -> tuple[Call | None, tuple[Any, ...]]:
        """Of the host's nothing is held on to, and there is no cycle."""
        call, args = self._call, self._args
        self._call, self._args, self._kwargs = None, (), {}
        return call, args

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

    def _when(self, call: Call) -> tuple[int, int] | None:
        """When the cache was asked, in readings of `time.perf_counter_ns`; `None` if it was not."""
        asked = self._asked
        if isinstance(asked, tuple):
            return asked[:2]
        if asked is None:
            return None
        during = call.clock.of_process(asked.interval)
        return during.start_ns, during.end_ns

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


class Lookup(_CacheStep):
    """From the start of the key function to the model read back from the entry."""

    role = SpanRole.LOOKUP
    _is_hit = False
    _stored: InferenceResponse | None = None

    def _began(self, call: Call) -> int:
        return self._start if call.keyed is None else call.keyed[0]

    def failed(self, error: BaseException) -> None:
        self._error_type = error_type(error)
        call, args = self._over()
        if call is not None:
            call.lookup = self
            call.prepared(args[2] if len(args) > 2 else None)

    def returned(self, found: Any) -> None:
        call, args = self._over()
        if call is None:
            return
        call.lookup = self
        if found is not None:
            self._is_hit = True
            try:
                raw = getattr(found, "_raw_response", None)
                name = getattr(raw, "id", None)  # as most have it
                if type(name) is not str or not name:
                    name = response_id(raw)
                # Unless what it took is known: a hit should cost little.
                if call.key is None or not call.reporter.knows(call.key, name):
                    self._stored = inference_response(raw)
            except Exception as failure:
                if not call.reporter.guard.swallows("stored response", failure):
                    raise
        if found is None or not call.asks_nobody:
            try:
                self._note(call, args[2] if len(args) > 2 else None)
            except Exception as failure:
                if not call.reporter.guard.swallows("history", failure):
                    raise

    def _note(self, call: Call, model: Any) -> None:
        if not self._is_hit:
            call.prepared(model)
        when = self._when(call)
        if isinstance(self._key, str) and when is not None:
            call.looked_up(self._key, *when, is_hit=self._is_hit)

    def facts(self, call: Call) -> LookupFacts:
        when = self._when(call)
        if self._is_hit and when is not None and isinstance(self._key, str):
            with call.reporter.guard("history"):
                call.found_in_memory(self._key, *when)
        return LookupFacts(
            interval=call.clock.between(self._began(call), self._end),
            hit=self._is_hit,
            get=self._backend(call),
            stored=self._stored,
            error_type=self._error_type,
            scope=self._scope,
        )


class Store(_CacheStep):
    """The model written as JSON, and `set`."""

    role = SpanRole.STORE

    def enter(self) -> Given:
        call = self._call
        if call is not None and self._args and store_methods.get(self._args[0]) is not None:
            call.asks_nobody = False  # by itself, since the call began
        return super().enter()

    def failed(self, error: BaseException) -> None:
        self._error_type = error_type(error)
        self._finish()

    def returned(self, nothing: Any) -> None:
        call = self._call
        if call is not None:
            try:
                self._note(call)
            except Exception as failure:
                if not call.reporter.guard.swallows("history", failure):
                    raise
        self._finish()

    def _finish(self) -> None:
        call, _ = self._over()
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
        when, asked = self._when(call), self._asked
        if call.history is not None and isinstance(self._key, str) and when is not None:
            assert asked is not None
            ttl = asked[5] if isinstance(asked, tuple) else asked.ttl
            call.history.stored(self._key, Interval(*when), ttl)
