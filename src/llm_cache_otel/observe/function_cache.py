"""Functions behind `functools.cache` or `functools.lru_cache`.

The interpreter's own cache stays in charge of what is a hit: a new one of the same parameters, of which each
entry also has what it took to make it. A hit of it takes 70 ns, and may cost some hundred more: it is noted,
and told with others when there are many, when the function runs again, or when metrics are collected.
"""

from __future__ import annotations

import functools
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import get_ident
from time import perf_counter_ns
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.facts import FunctionHits, Interval, LookupFacts, Origin, OriginHits, StaleModel
from llm_cache_otel.observe.call import Watch
from llm_cache_otel.observe.function_call import FunctionCall, FunctionTarget, function_target
from llm_cache_otel.observe.model_source import ModelSource, model_source
from llm_cache_otel.observe.ports import CacheHistory
from llm_cache_otel.observe.step import Observing

LruCached = type(functools.lru_cache(lambda: None))

BACKEND = "function"
_MANY = 1_024
_DURATIONS_EACH_SECOND = 2_000
_FEWEST_DURATIONS = 64
"""So many are recorded of the hits that are told at once, or as many as came at no more than that rate."""


class _Entry:
    """What the interpreter's cache holds. `made_in` is the thread whose call makes it, until it has it."""

    __slots__ = ("key", "made_in", "origin", "source", "value")

    def __init__(
        self,
        value: Any,
        key: str | None = None,
        origin: Origin | None = None,
        source: ModelSource | None = None,
    ) -> None:
        self.value = value
        self.key = key
        self.origin = origin or _UNKNOWN
        self.source = source
        self.made_in = get_ident()


_UNKNOWN = Origin()


class CachedFunction:
    """An observed function, and its cache."""

    def __init__(self, cached: Any, watch: Watch) -> None:
        self.function = cached.__wrapped__
        self.watch = watch
        self.target: FunctionTarget = function_target(self.function, watch)
        self._parameters: dict[str, Any] = cached.cache_parameters()
        self.lru: Any = functools.lru_cache(**self._parameters)(_entry_maker(self))
        self._hits: deque[tuple[_Entry, int, int]] = deque()
        self._settled_ns = perf_counter_ns()
        forks.pause_for_forks(self)
        self.history: CacheHistory | None = None
        watch.reporter.before_collection(weakref.WeakMethod(self.settle))
        watch.reporter.watch_size(weakref.ref(self), _size_of, BACKEND, watch.name)

    def size(self) -> tuple[int, int | None]:
        """Entries held, and entries there is room for, if that is limited."""
        return self.lru.cache_info().currsize, self._parameters["maxsize"]

    @property
    def full_at(self) -> int | None:
        held, room = self.size()
        return room if room is not None and held >= room else None

    def key_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Of this process only. The hashes of -1 and -2 are the same, so numbers are written out."""
        parts = (*args, *(part for item in kwargs.items() for part in item))
        if self._parameters["typed"]:
            parts += tuple(type(part) for part in parts)
        return str(hash(tuple(str(part) if type(part) is int else part for part in parts)))

    def hit(self, entry: _Entry, start: int, end: int) -> None:
        """Note one, of `time.perf_counter_ns`."""
        reporter = self.watch.reporter
        if reporter.is_suppressed():
            return
        if reporter.tells_hits_apart:
            _Hit(self.target, entry.origin, start).finish(None)
            return
        self._hits.append((entry, start, end))
        noted = len(self._hits)
        if noted == 1:
            reporter.ready()
        elif noted >= _MANY:
            self.settle()

    def settle(self) -> None:
        """Tell what was noted."""
        with self.watch.reporter.guard("function hits"):
            hits = []  # no lock: whoever collects metrics may wait for one that this would hold
            with suppress(IndexError):
                while True:
                    hits.append(self._hits.popleft())
            since, self._settled_ns = self._settled_ns, perf_counter_ns()
            if hits:
                self._note_use(hits)
                self.watch.reporter.function_hits(self._facts(hits, self._settled_ns - since))

    def _note_use(self, hits: list[tuple[_Entry, int, int]]) -> None:
        """Of an LRU, which entries were used, in order."""
        if self._parameters["maxsize"] is None or self.history is None:
            return
        latest = {id(hit[0]): hit for hit in reversed(hits)}
        for entry, start, end in reversed(latest.values()):
            if entry.key is not None:
                self.history.hit(entry.key, Interval(start, end))

    def _facts(self, hits: list[tuple[_Entry, int, int]], waited_ns: int) -> FunctionHits:
        most = max(_FEWEST_DURATIONS, _DURATIONS_EACH_SECOND * waited_ns // 1_000_000_000)
        each = -(-len(hits) // most)
        by_origin: defaultdict[Origin, list[float]] = defaultdict(list)
        kept: defaultdict[Origin, list[float]] = defaultdict(list)
        sources: dict[ModelSource, None] = {}
        for number, (entry, start, end) in enumerate(hits):
            by_origin[entry.origin].append((end - start) / 1e9)
            if number % each == 0:
                kept[entry.origin].append((end - start) / 1e9)
            if entry.source is not None:
                sources[entry.source] = None
        told = tuple(
            OriginHits(origin, len(seconds), sum(seconds), tuple(kept[origin]))
            for origin, seconds in by_origin.items()
        )
        name = self.watch.name
        return FunctionHits(self.target.name, name, BACKEND, told, self._stale(sources))

    def _stale(self, sources: Mapping[ModelSource, None]) -> StaleModel | None:
        for source in sources:
            asked = source.asked_now(self.function)
            if asked is not None and asked != source.model:
                return StaleModel(source.model, asked)
        return None

    def pause(self, deadline: float) -> bool:
        return True

    def resume(self) -> None: ...

    def end(self) -> None:
        """In a forked child: its parent tells what it has noted."""
        self._hits.clear()
        forks.pause_for_forks(self)


def _size_of(cached: Any) -> tuple[int, int | None]:
    return CachedFunction.size(cached)


class _Miss(FunctionCall):
    """A run of the function itself."""

    backend = BACKEND

    def __init__(
        self, cached: CachedFunction, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        cached.settle()
        super().__init__(cached.target, args, kwargs)
        self._cached = cached
        self.source: ModelSource | None = None
        self.cache_key: str | None = None
        if cached.size()[1] == 0:
            return  # a cache that holds nothing misses for no other reason
        with self.guard("history"):
            self.cache_key = cached.key_of(args, kwargs)
            self.history = cached.history = self.reporter.history_of(cached, None, lambda: False)
            self.miss = self.history.missed(
                self.cache_key, self._now(), self.request, capacity=cached.full_at
            )

    def _now(self) -> Interval:
        now = self.clock.now()
        return self.clock.of_process(Interval(now, now))

    def lookup(self, error: BaseException | None) -> LookupFacts:
        return LookupFacts(Interval(self._start_ns, self._start_ns), hit=False, get=None)

    def failed(self, error: BaseException) -> None:
        self._end()
        self.finish(error)

    def returned(self, result: Any) -> None:
        with self.guard("history"):
            if self.history is not None and self.cache_key is not None:
                self.history.stored(self.cache_key, self._now(), None)
        self._end()
        self.finish(None)
        with self.guard("model source"):
            origin = self.origin
            self.source = model_source(self._cached.function, origin.model if origin else None)

    def _end(self) -> None:
        with self.guard("history"):
            if self.history is not None and self.cache_key is not None:
                self.history.ended(self.cache_key)


class _Hit(FunctionCall):
    """A hit that is told as a call of its own."""

    backend = BACKEND

    def __init__(self, target: FunctionTarget, origin: Origin, began: int) -> None:
        super().__init__(target, (), {}, began=began)
        self.origin = origin

    def lookup(self, error: BaseException | None) -> LookupFacts:
        return LookupFacts(Interval(self._start_ns, self._start_ns), hit=True, get=None)


def _entry_maker(cached: CachedFunction) -> Callable[..., _Entry]:
    """What the interpreter's cache is in front of."""
    function, watch = cached.function, cached.watch

    def make(*args: Any, **kwargs: Any) -> _Entry:
        if not watch.on or watch.reporter.is_suppressed():
            return _Entry(function(*args, **kwargs))
        step = lambda: _Miss(cached, args, kwargs)
        with Observing(watch.reporter.guard, "function", step) as seen:
            value = function(*args, **kwargs)
        seen.returned(value)
        miss = seen.step
        if miss is None:
            return _Entry(value)
        return _Entry(value, miss.cache_key, miss.origin, miss.source)

    return make


def observed_cache(target: Any, watch: Watch) -> Callable[..., Any]:
    """A function that caches as `target` does, a function changed by `functools.lru_cache`, and is observed.

    To everybody who asks, it is that function, but for its entries, of which it has none yet.
    """
    cached = CachedFunction(target, watch)
    lru = cached.lru

    @functools.wraps(target)
    def call(*args: Any, **kwargs: Any) -> Any:
        start = perf_counter_ns()
        entry = lru(*args, **kwargs)
        if entry.made_in and entry.made_in == get_ident():
            entry.made_in = 0
        elif watch.on:
            try:
                cached.hit(entry, start, perf_counter_ns())
            except Exception as error:
                with watch.reporter.guard("function hit"):  # which costs more than a hit
                    raise error  # noqa: TRY201  it is in another's frame by now
        return entry.value

    call.__wrapped__ = target.__wrapped__
    for name in ("cache_info", "cache_clear"):
        setattr(call, name, getattr(lru, name))
    call.cache_parameters = target.cache_parameters  # type: ignore[attr-defined]
    return call
