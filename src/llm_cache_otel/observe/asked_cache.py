"""The cache of a call: what is known of it before it is asked, and what its history makes of the answer."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from llm_cache_otel.facts import AnswerKind, CacheGiven, Diagnosis, Interval
from llm_cache_otel.observe import adapter, instructor_api, response_model
from llm_cache_otel.observe.keyed_request import keyed_request
from llm_cache_otel.observe.ports import CacheHistory, Reporter
from llm_cache_otel.observe.store_methods import store_methods

_known = adapter.traits_of.known


class AskedCache:
    """That side of a `Call`.

    `asks_nobody` is whether it finds what it holds by itself: a class of the user's own that gets or sets in
    another way may ask anybody within it.
    """

    reporter: Reporter
    name: str | None
    answer = AnswerKind.MODEL
    history: CacheHistory | None = None
    diagnosis: Diagnosis | None = None
    traits: adapter.Traits | None = None
    asks_nobody = False
    ttl: int | None = None
    _has_namespace = False
    _place: Hashable | None = None
    _missed: str | None = None
    _asked: Mapping[str, Any]
    _kwargs: Mapping[str, Any]
    _named: tuple[str | None, str | None]
    """The model that was asked for: what it is called, and its schema's whole digest."""
    _key_arguments: Mapping[str, Any] = MappingProxyType({})

    def _read_cache(self, cache: Any, kwargs: Mapping[str, Any]) -> None:
        known = _known.get(id(cache))
        traits = adapter.traits_of(cache) if known is None or known[0]() is not cache else known[1]
        self.traits = traits
        observed = store_methods.get(cache) if store_methods.observed else None
        if observed is not None and self.name is None:
            self.name = observed.name
        self.asks_nobody = traits.is_plain_auto and observed is None
        ttl = kwargs.get("cache_ttl")
        if isinstance(ttl, int):
            self.ttl = ttl
        if "cache_namespace" in kwargs:
            self._has_namespace = True

    def watch_size(self) -> None:
        """Have the size of a cache in memory watched, once."""
        traits = self.traits
        if traits is None or not traits.is_auto or traits.size_watched_by() is self.reporter:
            return
        with self.reporter.guard("cache size"):
            cache = traits.cache()
            if cache is not None:
                adapter.watch_size(self.reporter, cache, traits, self.name)

    @property
    def backend(self) -> str | None:
        return None if self.traits is None else self.traits.backend

    @property
    def namespace_shared(self) -> bool | None:
        if self.traits is None:
            return None
        return self._has_namespace or not instructor_api.keys_have_namespaces

    @property
    def cache_id(self) -> Hashable | None:
        traits = self.traits
        is_known = traits is not None and traits.is_auto and self.history is not None
        return ("memory", id(traits)) if is_known else self._place

    @property
    def cache(self) -> CacheGiven:
        if self.traits is None:
            return CacheGiven.NOTHING
        if instructor_api.ignores_other_caches and not self.traits.is_adapter:
            return CacheGiven.NOT_A_CACHE
        return CacheGiven.ADAPTER

    def prepared(self, model: Any) -> None:
        """Note the model that Instructor prepared, which a hit tells nothing by."""
        if self.answer is AnswerKind.MODEL:
            answer = response_model.prepared_answer(model)
            if answer is not AnswerKind.MODEL:
                self.answer = answer

    def looked_up(self, key: str, start: int, end: int, *, is_hit: bool) -> None:
        """Note what was found under a key, and of a miss why, before another call can ask the same.

        From `start` to `end`, in readings of `time.perf_counter_ns`. What was found in memory is noted later.
        """
        if self.history is not None:
            return  # a signal's handler's, whose call could not be told from this one
        cache = self._kwargs["cache"]
        if self.traits is None or not self.traits.is_auto:
            self._place = adapter.place_of(cache)
        self.history = self.reporter.history_of(cache, self._place, adapter.honours_ttl)
        if is_hit:
            self.history.hit(key, start, end)
        elif self.answer in (AnswerKind.MODEL, AnswerKind.UNDECIDED):
            self._missed = key
            self.diagnosis = self.history.missed(
                key,
                Interval(start, end),
                partial(keyed_request, self._key_arguments, self._kwargs, self._named[1]),
                capacity=adapter.full_at(cache),
            )
        self._asked = self._kwargs = self._key_arguments = {}  # nothing of the host's is held on to

    def found_in_memory(self, key: str, start: int, end: int) -> None:
        """`looked_up`, where nothing needs it at once: told by who has its facts made."""
        cache = None if self.traits is None else self.traits.cache()
        if cache is not None and self.history is None:
            self.history = self.reporter.history_of(cache, None, adapter.honours_ttl)
            self.history.hit(key, start, end)

    def has_missed(self, key: str, *, dropped: bool) -> None:
        """The call that has missed it is over; `dropped` as of `Reporter.finished`."""
        if self.history is not None:
            try:
                self.history.ended(key)
                if not dropped and self.diagnosis is not None:
                    self.history.relieve()
            except Exception as failure:
                if not self.reporter.guard.swallows("history", failure):
                    raise
