"""The recorder of one observed call, and the steps within it: one set of facts, once it is over.

Nobody waits for these to be made: what a call notes is readings of `time.perf_counter_ns`, and what it
is told.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_cache_otel.facts import (
    AnswerKind,
    AttemptFacts,
    CallFacts,
    KeyFacts,
    Scope,
    SpanRole,
)
from llm_cache_otel.observe import instructor_api, response_model, sdk
from llm_cache_otel.observe.asked_cache import AskedCache
from llm_cache_otel.observe.clock import Clock
from llm_cache_otel.observe.errors import error_type, is_closing
from llm_cache_otel.observe.instructor_api import parallel_mode_values
from llm_cache_otel.observe.key_part import unserializable_part
from llm_cache_otel.observe.keyed_request import as_asked
from llm_cache_otel.observe.spending import Spending, current_spending
from llm_cache_otel.observe.step import NOWHERE, Surroundings
from llm_cache_otel.observe.stream import GENERATORS, watch_generator
from llm_cache_otel.observe.target import Target

if TYPE_CHECKING:
    from llm_cache_otel.observe.attempt import Attempt
    from llm_cache_otel.observe.lookup import Lookup, Store


_MODEL = AnswerKind.MODEL
_known = response_model.named.known


class Call(Surroundings, AskedCache):
    """One call of `create`. The boundary drives it; the seams inside Instructor add what they see.

    It is what is current while Instructor's code runs.
    """

    # What most calls never change costs a hit nothing where it stands on the class. An instance that has more
    # than thirty attributes of its own takes a dictionary for them.
    key: str | None = None
    keyed: tuple[int, int] | None = None
    lookup: Lookup | None = None
    store: Store | None = None
    attempts: tuple[Attempt, ...] = ()
    _named: tuple[str | None, str | None] = None, None
    _spending: Spending | None = None
    _key_part: str | None = None
    _error_type: str | None = None
    _over: tuple[Attempt, ...] = ()
    _attempts: tuple[AttemptFacts, ...] = ()
    _end = 0
    _awaits_stream = False

    def __init__(
        self,
        target: Target,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        around: Surroundings = NOWHERE,
        current: object = None,
    ) -> None:
        self._start = start = time.perf_counter_ns()
        self.offset = time.time_ns() - start
        watch = target.watch
        self._target: Target | None = target
        self.reporter = reporter = watch.reporter  # another may be told to the target meanwhile
        self.name = watch.name
        self.provider = target.provider
        self.mode = mode = target.mode
        model = kwargs.get("model")
        self.model = model if type(model) is str else sdk.requested_model(kwargs)
        self._asked = kwargs
        self._kwargs = as_asked(kwargs) if instructor_api.changes_messages else kwargs
        cache = kwargs.get("cache")
        if cache is not None:
            self._read_cache(cache, kwargs)
        requested = kwargs.get("response_model", args[0] if args else None)
        stream, parallel_tools = kwargs.get("stream") is True, mode in parallel_mode_values
        if requested is None or stream or parallel_tools:
            self.answer = response_model.requested_answer(
                requested, stream=stream, parallel_tools=parallel_tools
            )
        named = _known.get(id(requested))
        if named is not None and named[0]() is requested:
            self._named = named[1]
        else:
            with reporter.guard("response model"):
                self._named = response_model.named(requested)
        spending = current_spending.get()
        if spending is not None:
            self._spending = spending
        self._unfinished = [None]  # one for who finishes it
        opening = SpanRole.CREATE, self.offset + start, self._named[0]
        self.scope: Scope = reporter.open(opening, current=current)
        if around.busy:
            self.busy = around.busy
        self.call = self

    def sdk(self) -> Any:
        """The provider's client; `None` where there is none, or the call is over."""
        return None if self._target is None else self._target.sdk()

    @property
    def clock(self) -> Clock:
        return Clock(self.offset)

    def is_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Whether these are this very call's arguments, on their way through another function.

        That may have added to the messages; where a model is asked for, the model tells. Once Instructor has
        begun with it, they are another's: a signal's handler may call in the midst of it.
        """
        if self.keyed is not None or self.lookup is not None or self.attempts:
            return False
        asked, response_model = self._asked, kwargs.get("response_model")
        if response_model is None and kwargs.get("messages") is not asked.get("messages"):
            return False
        return response_model is asked.get("response_model")

    @property
    def is_over(self) -> bool:
        return not self._unfinished

    def failed(self, error: BaseException) -> None:
        if self.lookup is None and self.keyed is not None:
            self.prepared(self._key_arguments.get("response_model"))
        self._finish(error, dropped=is_closing(error))

    def returned(self, result: Any) -> Any | None:
        if self.lookup is None and self.keyed is not None:
            self.prepared(self._key_arguments.get("response_model"))
        if isinstance(result, GENERATORS):
            return watch_generator(result, self.reporter.guard, self._finish)
        if self.answer is not _MODEL:
            if self.answer is AnswerKind.UNDECIDED:
                self.answer = response_model.given_answer(result)
            streams = self.attempts and self.attempts[-1].is_streaming
            if self.answer is AnswerKind.NOTHING and streams:
                self._awaits_stream = True  # the caller holds the provider's own stream
                self._asked = self._kwargs = self._key_arguments = {}
                return None
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
            with self.reporter.guard("key part"):
                self._key_part = unserializable_part(arguments)
        self.key = key
        self.keyed = start, end
        self._key_arguments = arguments
        request = arguments.get("request", arguments)  # until 1.16 it is not given as a whole
        # What the user has put around Instructor's function may ask another model than was asked for.
        model = request.get("model")  # Bedrock's has another name, which `learn` knows
        if model is None or model != self.model or self.provider is None or self.mode is None:
            self.learn(arguments.get("provider"), arguments.get("mode"), request)

    def _finish(self, error: BaseException | None, dropped: bool) -> None:  # noqa: FBT001  an OnEnd
        try:
            self._unfinished.pop()
        except IndexError:
            return
        self._end = time.perf_counter_ns()
        # Of a call that is over nothing of the host's is held on to.
        self._asked = self._kwargs = self._key_arguments = {}
        self._target = None
        if self._missed is not None:
            self.has_missed(self._missed, dropped=dropped)
        if self.attempts:
            # What goes on underneath, where a program has waited for no longer, is no part of it any more.
            self._over, self.attempts = self.attempts, ()
            end_ns = self.offset + self._end
            for attempt in self._over:
                attempt.over(end_ns)
        if self._spending is not None:
            with self.reporter.guard("spending"):
                self._attempts = self._attempt_facts()
                self._spending.add(self._attempts, self.reporter.prices)
        if error is not None:
            self._error_type = error_type(error)
        self.reporter.ended(self, dropped=dropped)

    def _attempt_facts(self) -> tuple[AttemptFacts, ...]:
        return self._attempts or tuple([attempt.facts() for attempt in self._over])

    def tell(self) -> None:
        self.reporter.tell(self)

    def facts(self) -> CallFacts:
        """Once it is over."""
        self.watch_size()
        keyed, lookup, store = self.keyed, self.lookup, self.store
        found = None if lookup is None else lookup.facts(self)
        return CallFacts(
            interval=self.clock.between(self._start, self._end),
            cache=self.cache,
            answer=self.answer,
            name=self.name,
            provider=self.provider,
            model=self.model,
            mode=self.mode,
            response_model=self._named[0],
            schema_digest=response_model.shown(self._named[1]),
            backend=self.backend,
            cache_id=self.cache_id,
            ttl=self.ttl,
            history=self.history,
            namespace_shared=self.namespace_shared,
            key=None
            if keyed is None
            else KeyFacts(self.clock.between(*keyed), self.key, self._key_part),
            lookup=found,
            diagnosis=self.diagnosis,
            attempts=self._attempt_facts(),
            store=None if store is None else store.facts(self),
            error_type=self._error_type,
            unseen=instructor_api.unseen,
            scope=self.scope,
        )


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None
