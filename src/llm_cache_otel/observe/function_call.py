"""One run of a function whose answers are cached, by whatever it is that keeps them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from llm_cache_otel.facts import (
    AnswerKind,
    CacheGiven,
    CallFacts,
    Diagnosis,
    Inside,
    Interval,
    KeyedRequest,
    KeyFacts,
    LookupFacts,
    Origin,
    SpanRole,
    StoreFacts,
)
from llm_cache_otel.observe import response_model
from llm_cache_otel.observe.clock import Clock
from llm_cache_otel.observe.errors import error_type, is_closing
from llm_cache_otel.observe.function_request import function_request
from llm_cache_otel.observe.ports import CacheHistory
from llm_cache_otel.observe.spending import Spending, current_spending
from llm_cache_otel.observe.step import FunctionSurroundings, Listener
from llm_cache_otel.observe.target import Watch
from llm_cache_otel.outside import is_the_hosts


@dataclass(frozen=True)
class FunctionTarget:
    """What is known of an observed function before it is called.

    `name` is its own, `signature` is `None` where it can't be told, and `response_model` the Pydantic model
    that it is declared to return, if it is.
    """

    watch: Watch
    function: Callable[..., Any]
    name: str
    signature: inspect.Signature | None
    response_model: str | None
    schema_digest: str | None


def function_target(function: Callable[..., Any], watch: Watch) -> FunctionTarget:
    """What can be told of a function without calling it."""
    signature = model = None
    with watch.reporter.guard("signature"):
        signature = _signature(function)
        model = returned_model(function)
    return FunctionTarget(
        watch,
        function,
        getattr(function, "__name__", type(function).__name__),
        signature,
        response_model.display_name(model),
        response_model.shown(response_model.whole_schema_digest(model)),
    )


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # a builtin's
        return None


def returned_model(function: Callable[..., Any]) -> Any | None:
    """What a function is declared to return, if a Pydantic model is in it that can be found."""
    try:
        annotation = response_model.return_annotation(function)
    except Exception as error:  # of names that are defined later, or elsewhere
        if is_the_hosts(error):
            raise
        return None
    return annotation if response_model.may_be_model(annotation) else None


class FunctionCall:
    """One run, as a step (`llm_cache_otel.observe.step.Step`). A kind of cache adds what it sees of it."""

    backend: str | None = None
    """Until the cache is known that the function asks."""

    cache = CacheGiven.NOTHING
    """Where no cache is seen to be asked."""

    def __init__(
        self,
        target: FunctionTarget,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        began: int | None = None,
    ) -> None:
        """`began` is of `time.perf_counter_ns`, by default now."""
        self.clock = Clock()
        self._start_ns = self.clock.now() if began is None else self.clock.at(began)
        self.target = target
        self.reporter = target.watch.reporter
        self.guard = self.reporter.guard
        self.spending = Spending(current_spending.get())
        self.history: CacheHistory | None = None
        self.diagnosis: Diagnosis | None = None
        self.key: KeyFacts | None = None
        self.ttl: float | None = None
        self.origin: Origin | None = None
        self.answer = AnswerKind.MODEL
        self.entry: Hashable = None
        self.entered_ns = self._start_ns
        self._arguments = args, kwargs
        self.scope = self.reporter.open(
            (SpanRole.CREATE, self._start_ns, target.response_model, target.name)
        )
        self._surroundings = FunctionSurroundings(self.scope, self.listener(), self.current())

    def listener(self) -> Listener | None:
        """Who listens to what observed stores are asked while the function runs, if not who does around."""
        return None

    def current(self) -> dict[Any, object]:
        """What else is current while the function runs, by its variable."""
        return {current_spending: self.spending}

    def enter(self) -> None:
        self._surroundings.enter()
        self.entered_ns = self.clock.now()

    def leave(self) -> None:
        self._surroundings.leave()

    def request(self) -> KeyedRequest | None:
        """What the function was asked, as far as it can be read."""
        target = self.target
        module = getattr(target.function, "__module__", None)
        function = f"{module}.{getattr(target.function, '__qualname__', target.name)}"
        return function_request(
            target.signature, *self._arguments, function=function, schema=target.schema_digest
        )

    def lookup(self, error: BaseException | None) -> LookupFacts | None:
        """What its cache found; `None` if it was not asked."""
        raise NotImplementedError

    def store(self) -> StoreFacts | None:
        return None

    def failed(self, error: BaseException) -> None:
        self.finish(error)

    def returned(self, result: Any) -> None:
        self.finish(None)

    def finish(self, error: BaseException | None) -> None:
        end_ns = self.clock.now()
        interval = Interval(self._start_ns, end_ns)
        self._arguments = (), {}
        lookup = self.lookup(error)
        if self.origin is None and (lookup is None or not lookup.hit):
            self.origin = self.spending.origin(interval.seconds)
        self.reporter.finished(
            CallFacts(
                interval=interval,
                cache=self.cache if lookup is None else CacheGiven.ADAPTER,
                answer=self.answer,
                name=self.target.watch.name,
                response_model=self.target.response_model,
                schema_digest=self.target.schema_digest,
                backend=self.backend,
                ttl=self.ttl,
                history=self.history,
                key=self.key,
                lookup=lookup,
                diagnosis=self.diagnosis,
                store=self.store(),
                error_type=None if error is None else error_type(error),
                unseen=frozenset({Inside.ATTEMPTS}),
                function=self.target.name,
                origin=self.origin,
                entry=self.entry,
                scope=self.scope,
            ),
            dropped=is_closing(error),
        )
