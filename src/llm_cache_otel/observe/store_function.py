"""Functions whose answers a decorator keeps in a store, such as `diskcache.Cache` or `redis.Redis`.

The decorator is anybody's. What it asks of an observed store while the function runs tells the rest: the
first that it gets is the lookup, and what it sets under the same key the store.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from llm_cache_otel.facts import (
    BackendFacts,
    Interval,
    KeyFacts,
    LookupFacts,
    Operation,
    StoreFacts,
)
from llm_cache_otel.observe import adapter
from llm_cache_otel.observe.errors import error_type
from llm_cache_otel.observe.function_call import FunctionCall, FunctionTarget, function_target
from llm_cache_otel.observe.step import Listener, Observing, observe
from llm_cache_otel.observe.target import Watch

_LONGEST_HELD = 1_000
_MOST_MISSED = 64


class StoreFunctionCall(FunctionCall):
    """One run of the function, with its decorator."""

    def __init__(
        self, target: FunctionTarget, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._asked: object = None
        self._key: str | None = None
        self._found: int | None = None
        self._got: BackendFacts | None = None
        self._set: BackendFacts | None = None
        self._is_over = False
        self._missed: set[str] = set()
        self._has_run = False
        super().__init__(target, args, kwargs)

    def listener(self) -> Listener:
        return self.note

    def note(self, store: object, key: Any, entry: Any, facts: BackendFacts) -> bool:
        """Whether what an observed store was asked is this function's lookup, or what it stores."""
        is_get = facts.operation is Operation.GET
        if self._is_over:
            return False  # a task that the function has left behind asks
        if is_get and facts.hit is False and len(self._missed) < _MOST_MISSED:
            self._missed.add(_text_of(key))
        if is_get and self._got is None and not self.spending.is_any:
            self._looked_up(store, _text_of(key), facts)
            self._found = _print_of(entry)
        elif not is_get and self._got and store is self._asked and _text_of(key) == self._key:
            stored = _print_of(entry)
            if self._got.hit and stored is not None and stored == self._found:
                return False  # what it has found is to be kept for longer
            self._found = stored
            self._stored(facts)
        else:
            # What it asked for first was not its answer, but perhaps whether it should cache at all.
            self._has_run |= not is_get and _text_of(key) in self._missed
            return False
        place = adapter.place_of(store)
        # Not the key itself, which may be as long as a prompt, and entries are remembered for long.
        self.entry = id(store) if place is None else place, hash(self._key), self._found
        return True

    def _looked_up(self, store: object, key: str, got: BackendFacts) -> None:
        self._asked, self._key, self._got = store, key, got
        self.backend = got.backend
        self.key = KeyFacts(
            Interval(self.entered_ns, max(self.entered_ns, got.asked_ns or 0)),
            # It is held until it is said, and may be as long as a prompt.
            key if len(key) <= _LONGEST_HELD else self.reporter.digest(key),
        )
        if got.error_type is not None:
            return
        with self.guard("history"):
            self.history = self.reporter.history_of(
                store, adapter.place_of(store), adapter.honours_ttl
            )
            during = self.clock.of_process(got.interval)
            if got.hit:
                self.history.hit(key, during.start_ns, during.end_ns)
            else:
                self.diagnosis = self.history.missed(
                    key, during, self.request, capacity=adapter.full_at(store)
                )

    def _stored(self, facts: BackendFacts) -> None:
        self._set, self.ttl = facts, facts.ttl
        if facts.error_type is None and self.history is not None and self._key is not None:
            with self.guard("history"):
                during = self.clock.of_process(facts.interval)
                self.history.stored(self._key, during, facts.ttl)

    def lookup(self, error: BaseException | None) -> LookupFacts | None:
        got = self._got
        if got is None:
            return None
        failure = got.error_type
        was_asked = self.spending.is_any or self._set is not None or self._has_run
        if got.hit and isinstance(error, ValidationError) and not was_asked:
            failure = error_type(error)  # what was found is no answer any more
        hit = bool(got.hit) and failure is None and not was_asked
        return LookupFacts(
            got.interval,
            hit,
            got,
            error_type=failure,
            interrupted=got.interrupted,
            scope=got.scope,
        )

    def store(self) -> StoreFacts | None:
        stored = self._set
        if stored is None:
            return None
        return StoreFacts(stored.interval, stored, stored.error_type, stored.scope)

    def finish(self, error: BaseException | None) -> None:
        if self.diagnosis is not None or (self._got is not None and self._got.hit is False):
            with self.guard("history"):
                if self.history is not None and self._key is not None:
                    self.history.ended(self._key)
        self._is_over = True
        super().finish(error)
        self._asked = None


def _text_of(key: Any) -> str:
    if isinstance(key, bytes):
        return key.decode("utf-8", "backslashreplace")
    return key if isinstance(key, str) else repr(key)


def _print_of(entry: Any) -> int | None:
    """Tells entries apart that are texts, or bytes, also those that another process has stored."""
    if isinstance(entry, str):
        entry = entry.encode("utf-8", "surrogatepass")
    return hash(entry) if isinstance(entry, bytes) else None


def observed_function(
    function: Any, watch: Watch, kind: type[StoreFunctionCall] = StoreFunctionCall
) -> Callable[..., Any]:
    """`function`, and to everybody who asks still that, with every run of it observed."""
    target = function_target(function, watch)

    def step(args: tuple[Any, ...], kwargs: dict[str, Any]) -> StoreFunctionCall | None:
        if not watch.on or watch.reporter.is_suppressed():
            return None
        return kind(target, args, kwargs)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            seen = Observing(watch.reporter.guard, "function", lambda: step(args, kwargs))
            try:
                with seen:
                    result = await function(*args, **kwargs)
                return seen.returned(result)
            finally:
                if seen.is_inside:  # an interrupt has struck
                    seen.leave()

        return call_async

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return observe(watch.reporter.guard, "function", step, function, args, kwargs)

    return call
