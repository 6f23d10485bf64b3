"""The recorder of one observed call, and the steps within it: one set of facts, once it is over.

Nobody waits for these to be made: what a call notes is readings of `time.perf_counter_ns`, and what it
is told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from llm_cache_otel.facts import (
    AnswerKind,
    AttemptFacts,
    CacheGiven,
    CallFacts,
    Diagnosis,
    Interval,
    KeyedRequest,
    KeyFacts,
    Opening,
    SpanRole,
)
from llm_cache_otel.observe import adapter, instructor_api, response_model, sdk
from llm_cache_otel.observe.errors import error_type, is_closing
from llm_cache_otel.observe.instructor_api import parallel_mode_values
from llm_cache_otel.observe.key_part import unserializable_part
from llm_cache_otel.observe.keyed_request import as_asked, keyed_request
from llm_cache_otel.observe.ports import CacheHistory
from llm_cache_otel.observe.spending import current_spending
from llm_cache_otel.observe.step import Clock, Surroundings
from llm_cache_otel.observe.store_methods import store_methods
from llm_cache_otel.observe.stream import is_generator, watch_generator
from llm_cache_otel.observe.target import Target

if TYPE_CHECKING:
    from llm_cache_otel.observe.attempt import Attempt
    from llm_cache_otel.observe.lookup import Lookup, Store


class Call:
    """One call of `create`. The boundary drives it; the seams inside Instructor add what they see."""

    # What most calls never change costs a hit nothing where it stands on the class.
    key: str | None = None
    keyed: tuple[int, int] | None = None
    lookup: Lookup | None = None
    store: Store | None = None
    history: CacheHistory | None = None
    cache_id: Hashable | None = None
    diagnosis: Diagnosis | None = None
    answer = AnswerKind.MODEL
    cache = CacheGiven.NOTHING
    backend: str | None = None
    is_auto = is_in_memory = asks_nobody = False
    ttl: int | None = None
    namespace_shared: bool | None = None
    response_model: str | None = None
    schema_digest: str | None = None
    _key_part: str | None = None
    _missed: str | None = None
    _error_type: str | None = None
    _attempts: tuple[AttemptFacts, ...] = ()
    _end = 0
    _key_arguments: Mapping[str, Any] = MappingProxyType({})
    _awaits_stream = False

    def __init__(
        self,
        target: Target,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        current: object = None,
    ) -> None:
        self._start = time.perf_counter_ns()
        self.clock = Clock()
        self.sdk = target.sdk
        self.reporter = target.watch.reporter  # another may be told to the target meanwhile
        self.guard = self.reporter.guard
        self.name = target.watch.name
        self.provider = target.provider
        self.mode = target.mode
        model = kwargs.get("model")
        self.model = model if type(model) is str else sdk.requested_model(kwargs)
        self.attempts: list[Attempt] = []
        self._kwargs = as_asked(kwargs) if instructor_api.changes_messages else kwargs
        self._read_cache(kwargs.get("cache"), kwargs)
        self._read_response_model(kwargs.get("response_model", args[0] if args else None), kwargs)
        self._asked = id(kwargs.get("messages")), id(kwargs.get("response_model"))
        self._spending = current_spending.get()
        self._unfinished = threading.Lock()
        self.scope = self.reporter.open(
            Opening(
                SpanRole.CREATE,
                self.clock.offset + self._start,
                response_model=self.response_model,
            ),
            current=current,
        )
        self._surroundings = Surroundings(self, self.scope)
        self.enter, self.leave = self._surroundings.enter, self._surroundings.leave

    def _read_cache(self, cache: Any, kwargs: Mapping[str, Any]) -> None:
        if cache is None:
            return
        traits = adapter.traits_of(cache)
        self.cache = CacheGiven.ADAPTER
        if instructor_api.ignores_other_caches and not traits.is_adapter:
            self.cache = CacheGiven.NOT_A_CACHE
        observed = store_methods.get(cache) if store_methods.are_any else None
        if self.name is None and observed is not None:
            self.name = observed.name
        # A class of the user's own that gets or sets in another way may ask anybody within it.
        self.is_auto, self.is_in_memory = traits.is_auto, traits.is_plain_auto
        self.asks_nobody = traits.is_plain_auto and observed is None
        self.backend = traits.backend
        ttl = kwargs.get("cache_ttl")
        self.ttl = ttl if isinstance(ttl, int) else None
        self.namespace_shared = (
            "cache_namespace" in kwargs or not instructor_api.keys_have_namespaces
        )
        if traits.is_auto and traits.size_watched_by() is not self.reporter:
            with self.guard("cache size"):
                adapter.watch_size(self.reporter, cache, traits, self.name)

    def _read_response_model(self, requested: Any, kwargs: Mapping[str, Any]) -> None:
        stream, parallel_tools = kwargs.get("stream") is True, self.mode in parallel_mode_values
        if requested is None or stream or parallel_tools:
            self.answer = response_model.requested_answer(
                requested, stream=stream, parallel_tools=parallel_tools
            )
        try:
            self.response_model, self.schema_digest = response_model.named(requested)
        except Exception as error:
            if not self.guard.swallows("response model", error):
                raise

    def is_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Whether these are this very call's arguments, on their way through another function.

        That may have added to the messages; where a model is asked for, the model tells. Once Instructor has
        begun with it, they are another's: a signal's handler may call in the midst of it.
        """
        if self.keyed is not None or self.lookup is not None or self.attempts:
            return False
        messages, response_model = kwargs.get("messages"), kwargs.get("response_model")
        if response_model is None and id(messages) != self._asked[0]:
            return False
        return id(response_model) == self._asked[1]

    @property
    def is_over(self) -> bool:
        return self._unfinished.locked()

    def failed(self, error: BaseException) -> None:
        self._finish(error, dropped=is_closing(error))

    def returned(self, result: Any) -> Any | None:
        if is_generator(result):
            return watch_generator(result, self.guard, self._finish)
        if self.answer is AnswerKind.UNDECIDED:
            self.answer = response_model.given_answer(result)
        if self.answer is AnswerKind.NOTHING and self.attempts and self.attempts[-1].is_streaming:
            self._awaits_stream = True  # the caller holds the provider's own stream
        else:
            self._finish(None, dropped=False)
        return None

    def attempt_ended(self, error: BaseException | None, *, dropped: bool) -> None:
        if self._awaits_stream:
            self._finish(error, dropped)

    def learn(self, provider: Any, mode: Any, request: Any, function: Any = None) -> None:
        """Note what only Instructor's inside knows: default models, and what `patch` was told."""
        if isinstance(request, Mapping):
            self.model = sdk.requested_model(request) or self.model
        self.mode = self.mode or _string(getattr(mode, "value", mode))
        if self.provider is None:
            name = _string(getattr(provider, "value", provider))
            self.provider = sdk.provider_name(name, self.sdk(), function)

    def key_computed(
        self, key: str | None, start: int, end: int, arguments: Mapping[str, Any]
    ) -> None:
        """Note a run of the key function, called with `arguments`.

        Instructor 1.15.3 to 1.16 run it again before they store; what it costs them is the first.
        """
        if self.keyed is not None:
            return
        if key is None:
            with self.guard("key part"):
                self._key_part = unserializable_part(arguments)
        self.key = key
        self.keyed = start, end
        self._key_arguments = arguments
        request = arguments.get("request", arguments)  # until 1.16 it is not given as a whole
        # What the user has put around Instructor's function may ask another model than was asked for.
        if self.provider is None or self.mode is None or request.get("model") != self.model:
            self.learn(arguments.get("provider"), arguments.get("mode"), request)
        if self.answer is AnswerKind.MODEL:
            self.answer = response_model.prepared_answer(arguments.get("response_model"))

    def looked_up(self, key: str, got: Interval, *, is_hit: bool) -> None:
        """Note what was found under a key, and of a miss why, before another call can ask the same."""
        if self.history is not None:
            return  # a signal's handler's, whose call could not be told from this one
        cache = self._kwargs["cache"]
        place = None if self.is_auto else adapter.place_of(cache)
        self.cache_id = ("memory", id(cache)) if self.is_auto else place
        self.history = self.reporter.history_of(cache, place, lambda: adapter.honours_ttl(cache))
        if is_hit:
            self.history.hit(key, got)
        elif self.answer in (AnswerKind.MODEL, AnswerKind.UNDECIDED):
            self._missed = key
            self.diagnosis = self.history.missed(
                key, got, self._keyed_request, capacity=adapter.full_at(cache)
            )
        self._kwargs = self._key_arguments = {}  # nothing of the host's is held on to

    def _keyed_request(self) -> KeyedRequest | None:
        return keyed_request(self._key_arguments, self._kwargs) if self._key_arguments else None

    def _finish(self, error: BaseException | None, dropped: bool) -> None:  # noqa: FBT001  an OnEnd
        if not self._unfinished.acquire(blocking=False):
            return
        self._end = time.perf_counter_ns()
        self._kwargs = self._key_arguments = {}
        self.sdk = _nobody
        if self._missed is not None and self.history is not None:
            with self.guard("history"):
                self.history.ended(self._missed)
        if self.attempts:
            end_ns = self.clock.at(self._end)
            self._attempts = tuple(attempt.facts(end_ns) for attempt in self.attempts)
            self.attempts = []  # no cycle: a finished call is freed at once
        if self._spending is not None:
            with self.guard("spending"):
                self._spending.add(self._attempts, self.reporter.prices)
        if error is not None:
            self._error_type = error_type(error)
        self.reporter.ended(self, dropped=dropped)

    def facts(self) -> CallFacts:
        """Once it is over."""
        keyed, lookup, store = self.keyed, self.lookup, self.store
        return CallFacts(
            interval=self.clock.between(self._start, self._end),
            cache=self.cache,
            answer=self.answer,
            name=self.name,
            provider=self.provider,
            model=self.model,
            mode=self.mode,
            response_model=self.response_model,
            schema_digest=self.schema_digest,
            backend=self.backend,
            cache_id=self.cache_id,
            ttl=self.ttl,
            history=self.history,
            namespace_shared=self.namespace_shared,
            key=None
            if keyed is None
            else KeyFacts(self.clock.between(*keyed), self.key, self._key_part),
            lookup=None if lookup is None else lookup.facts(self),
            diagnosis=self.diagnosis,
            attempts=self._attempts,
            store=None if store is None else store.facts(self),
            error_type=self._error_type,
            unseen=instructor_api.unseen,
            scope=self.scope,
        )


def _nobody() -> None:
    """Of a call that is over nothing of the host's is held on to."""


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None
