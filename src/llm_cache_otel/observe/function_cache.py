"""Functions behind `functools.cache` or `functools.lru_cache`.

The interpreter's own cache stays in charge of what is a hit: a new one of the same parameters, of which each
entry also has what it took to make it. A hit of it takes 70 ns, and noting it costs about a microsecond: it
is told with others when there are many, when the function runs again, or when metrics are collected.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import itemgetter
from threading import get_ident
from time import perf_counter_ns
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.facts import FunctionHits, Interval, Origin, OriginHits, StaleModel
from llm_cache_otel.observe.function_call import FunctionTarget, function_target
from llm_cache_otel.observe.function_run import BACKEND, Hit, Run
from llm_cache_otel.observe.model_source import StaleModels
from llm_cache_otel.observe.ports import CacheHistory, Reporter
from llm_cache_otel.observe.step import Observing
from llm_cache_otel.observe.target import Watch

LruCached = type(functools.lru_cache(lambda: None))

_MANY = 1_024
_DURATIONS_EACH_SECOND = 1_000
_FEWEST_DURATIONS = 16
"""So many are recorded of the hits that are told at once, or as many as came at no more than that rate."""

_UNKNOWN = Origin()


class _Entry:
    """What the interpreter's cache holds. `made_in` is the thread whose call makes it, until it has it."""

    __slots__ = ("key", "made_in", "origin", "source", "value")

    def __init__(self, value: Any, run: Run | None = None) -> None:
        self.value = value
        self.key = None if run is None else run.cache_key
        self.origin = (run and run.origin) or _UNKNOWN
        self.source = None if run is None else run.source
        self.made_in = get_ident()


_NotedHit = tuple[_Entry, int, int]
"""Which began and ended at these times, of `time.perf_counter_ns`."""

_entry_of, _began, _ended = (itemgetter(number) for number in range(3))


class CachedFunction:
    """An observed function, and its cache."""

    def __init__(self, cached: Any, watch: Watch) -> None:
        self.watch = watch
        self._hits: deque[_NotedHit] = deque()
        self.function = cached.__wrapped__
        self.target: FunctionTarget = function_target(self.function, watch)
        self.parameters: dict[str, Any] = cached.cache_parameters()
        self.is_typed: bool = self.parameters["typed"]
        self.lru: Any = functools.lru_cache(**self.parameters)(_entry_maker(self))
        self.history: CacheHistory | None = None
        self._settled_ns = perf_counter_ns()
        self._stale = StaleModels(self.function)
        forks.pause_for_forks(self)
        self._asked_by: Reporter | None = None
        watch.reporter.watch_size(self, _size_of, BACKEND, watch.name)

    def size(self) -> tuple[int, int | None]:
        """Entries held, and entries there is room for, if that is limited."""
        return self.lru.cache_info().currsize, self.parameters["maxsize"]

    @property
    def full_at(self) -> int | None:
        held, room = self.size()
        return room if room is not None and held >= room else None

    def hit(self, entry: _Entry, start: int, end: int) -> None:
        """Note one, of `time.perf_counter_ns`."""
        reporter = self.watch.reporter
        if reporter.is_suppressed():
            return
        if reporter.tells_hits_apart:
            Hit(self.target, entry.origin, start).finish(None)
            return
        self._hits.append((entry, start, end))
        noted = len(self._hits)
        if noted == 1:
            self._prepare(reporter)
            if entry.source is not None:
                self._stale.look(entry.source, start)
        elif noted >= _MANY:
            self.settle()

    def _prepare(self, reporter: Reporter) -> None:
        """Have what is noted from now on told, also by one who was put in another's place."""
        reporter.ready()
        if reporter is not self._asked_by:
            self._asked_by = reporter
            reporter.before_collection(weakref.WeakMethod(self.settle))

    def stored(self, key: str) -> None:
        """The interpreter's cache has it by now."""
        if self.history is not None:
            now = perf_counter_ns()
            self.history.stored(key, Interval(now, now), None)
            self.history.ended(key)

    def cleared(self, by: int) -> None:
        if self.history is not None:
            self.history.cleared(by)

    def settle(self) -> None:
        """Tell what was noted."""
        with self.watch.reporter.guard("function hits"):
            hits = self._taken()
            since, self._settled_ns = self._settled_ns, perf_counter_ns()
            if hits:
                self._note_use(hits)
                self.watch.reporter.function_hits(self._facts(hits, self._settled_ns - since))

    def _taken(self) -> list[_NotedHit]:
        # Without a lock: whoever collects metrics may wait for one that this would hold.
        hits, take = list[_NotedHit](), self._hits.popleft
        with suppress(IndexError):
            while True:
                hits.append(take())
        return hits

    def _note_use(self, hits: Sequence[_NotedHit]) -> None:
        """Of an LRU, which entries were used, in order."""
        if self.parameters["maxsize"] is None or self.history is None:
            return
        began = {entry: start for entry, start, _ in hits}
        latest = dict.fromkeys(map(_entry_of, reversed(hits)))
        self.history.used(
            (entry.key, began[entry]) for entry in reversed(latest) if entry.key is not None
        )

    def _facts(self, hits: Sequence[_NotedHit], waited_ns: int) -> FunctionHits:
        most = max(_FEWEST_DURATIONS, _DURATIONS_EACH_SECOND * waited_ns // 1_000_000_000)
        each = -(-len(hits) // most)
        seconds = (sum(map(_ended, hits)) - sum(map(_began, hits))) / len(hits) / 1e9
        counts = Counter[Origin]()
        for entry, count in Counter(map(_entry_of, hits)).items():
            counts[entry.origin] += count
        kept: dict[Origin, list[float]] = {origin: [] for origin in counts}
        for entry, start, end in hits[::each]:
            kept[entry.origin].append((end - start) / 1e9)
        told = tuple(
            OriginHits(origin, count, seconds * count, tuple(kept[origin]))
            for origin, count in counts.items()
        )
        stale = self._stale_model(hits)
        return FunctionHits(self.target.name, self.watch.name, BACKEND, told, stale)

    def _stale_model(self, hits: Sequence[_NotedHit]) -> StaleModel | None:
        latest = {entry.source: start for entry, start, _ in hits if entry.source is not None}
        found = None
        for source, began in latest.items():
            self._stale.look(source, perf_counter_ns())
            asked = self._stale.asked(source, began)
            if asked is not None:
                found = StaleModel(source.model, asked)
        return found

    def __del__(self) -> None:
        """Nobody can call the function any more, and what it noted is not told yet."""
        with self.watch.reporter.guard("function hits"):
            self._tell_the_rest()

    def _tell_the_rest(self) -> None:
        hits = self._taken()
        if hits:
            facts = self._facts(hits, perf_counter_ns() - self._settled_ns)
            self.watch.reporter.function_hits(facts, dropped=True)

    def pause(self, deadline: float) -> bool:
        return True

    def resume(self) -> None: ...

    def end(self) -> None:
        """In a forked child: its parent tells what it has noted."""
        self._hits.clear()
        self.history = None
        forks.pause_for_forks(self)


def _size_of(cached: Any) -> tuple[int, int | None]:
    return CachedFunction.size(cached)


def _entry_maker(known: CachedFunction) -> Callable[..., _Entry]:
    """What the interpreter's cache is in front of."""
    function, watch = known.function, known.watch
    reference = weakref.ref(known)  # no cycle: a function that nobody has is freed at once

    def make(*args: Any, **kwargs: Any) -> _Entry:
        cached = reference()
        if cached is None or not watch.on or watch.reporter.is_suppressed():
            return _Entry(function(*args, **kwargs))
        began = sys._getframe(1).f_locals.get("start") or perf_counter_ns()  # the caller's, below
        observing = Observing(
            watch.reporter.guard, "function", lambda: Run(cached, args, kwargs, began)
        )
        try:
            with observing as seen:
                value = function(*args, **kwargs)
            seen.returned(value)
            return _Entry(value, seen.step)
        finally:
            if observing.is_inside:  # an interrupt has struck
                observing.leave()

    return make


def observed_cache(target: Any, watch: Watch) -> Callable[..., Any]:
    """A function that caches as `target` does, a function changed by `functools.lru_cache`, and is observed.

    To everybody who asks, it is that function, but for its entries, of which it has none yet.
    """
    cached = CachedFunction(target, watch)
    lru, guard = cached.lru, watch.reporter.guard

    @functools.wraps(target)
    def call(*args: Any, **kwargs: Any) -> Any:
        start = perf_counter_ns()
        entry = lru(*args, **kwargs)
        if entry.made_in and entry.made_in == get_ident():
            entry.made_in = 0
            if entry.key is not None:
                with guard("history"):
                    cached.stored(entry.key)
        elif watch.on:
            try:
                cached.hit(entry, start, perf_counter_ns())
            except Exception as error:
                with guard("function hit"):  # which costs more than a hit
                    raise error  # noqa: TRY201  it is in another's frame by now
        return entry.value

    @functools.wraps(target.cache_clear)
    def cache_clear() -> None:
        with guard("history"):
            cached.cleared(sys.maxsize)  # and what is asked meanwhile
        lru.cache_clear()
        with guard("history"):
            cached.cleared(perf_counter_ns())

    call.__wrapped__ = target.__wrapped__
    call.cache_info = lru.cache_info  # type: ignore[attr-defined]
    call.cache_clear = cache_clear  # type: ignore[attr-defined]
    call.cache_parameters = target.cache_parameters  # type: ignore[attr-defined]
    return call
