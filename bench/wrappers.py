"""The least that can see what a cache did and note it, with nobody to make sense of it.

Instructor calls no hook where it finds an answer. Whoever is to see its key, its lookup, its store and its
attempts wraps the functions that do these, and tells by a context variable whose call they are of: not of the
validators that run while an entry is read back. Whoever is to tell of it, unless telemetry is suppressed,
notes what was asked for, the key, the entry and whose answer that is, and makes a place in the trace for what
runs within: of a sampled call, and of each attempt. Whoever is to tell why it missed, and what that cost,
copies what was asked, sent and reported, before the program or Instructor change it. That is done here in
the plainest way there is: nothing is guarded, and what is noted is given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import wrapt
from opentelemetry import context as context_api
from opentelemetry.trace import INVALID_SPAN, set_span_in_context
from pydantic import TypeAdapter

from llm_cache_otel.observe import instructor_api

Noted = list[tuple[object, ...]]

_SUPPRESSING = context_api._SUPPRESS_INSTRUMENTATION_KEY

_call: ContextVar[Noted | None] = ContextVar("bench_call", default=None)
_keyed: ContextVar[dict[str, Any]] = ContextVar("bench_keyed")


def see_inside() -> None:
    """Have Instructor's functions seen, in all of this process."""
    for place, wrapper in (
        (instructor_api.KEY, _key),
        (instructor_api.LOAD, _tapped("lookup")),
        (instructor_api.STORE, _tapped("store")),
        (instructor_api.RETRY_SYNC, _retry),
    ):
        assert place is not None
        module, name = place
        setattr(module, name, wrapt.FunctionWrapper(getattr(module, name), wrapper))


def see_client(client: Any, *, sampled: bool) -> Any:
    """Have the calls of a sync client seen."""
    run = _in_place(_of_create) if sampled else _of_create

    def create(function: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        if context_api.get_value(_SUPPRESSING):
            return function(*args, **kwargs)
        model, asked = kwargs["response_model"], kwargs.get("model")
        cache, ttl = kwargs.get("cache"), kwargs.get("cache_ttl")
        token = _call.set([(time.time_ns(), asked, model.__name__, type(cache).__name__, ttl)])
        try:
            return run(function, instance, args, kwargs)
        finally:
            _call.reset(token)

    client.create_fn = wrapt.FunctionWrapper(client.create_fn, create)
    return client


def _key(function: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    _keyed.set(kwargs)
    return _of_key(function, instance, args, kwargs)


def _in_place(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run`, with a place in the trace of its own."""

    def in_place(function: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        place = context_api.attach(set_span_in_context(INVALID_SPAN))
        try:
            return run(function, instance, args, kwargs)
        finally:
            context_api.detach(place)

    return in_place


def _timed(what: str) -> Callable[..., Any]:
    def timed(function: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        start = time.perf_counter_ns()
        result = function(*args, **kwargs)
        noted = _call.get()
        if noted is not None:
            noted.append((what, start, time.perf_counter_ns(), result))
        return result

    return timed


_of_create, _of_key = _timed("create"), _timed("key")


def _tapped(what: str) -> Callable[..., Any]:
    """What asks the cache is given one in its place that notes when it was asked, and for what."""

    def tapped(function: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        noted = _call.get()
        if noted is None:
            return function(*args, **kwargs)
        token = _call.set(None)
        start = time.perf_counter_ns()
        try:
            found = function(_Tap(args[0], noted), *args[1:], **kwargs)
        finally:
            _call.reset(token)
        response = getattr(found, "_raw_response", None)
        noted.append((what, start, time.perf_counter_ns(), getattr(response, "id", None)))
        return found

    return tapped


class _Tap(wrapt.BaseObjectProxy[Any]):
    _self_noted: Noted

    def __init__(self, cache: Any, noted: Noted) -> None:
        super().__init__(cache)
        self._self_noted = noted

    def get(self, key: str) -> Any:
        start = time.perf_counter_ns()
        entry = self.__wrapped__.get(key)
        self._self_noted.append(("get", start, time.perf_counter_ns(), entry))
        return entry

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        start = time.perf_counter_ns()
        self.__wrapped__.set(key, value, ttl)
        self._self_noted.append(("set", start, time.perf_counter_ns(), value))


def _retry(function: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    """Who comes here has missed."""
    noted = _call.get()
    if noted is None:
        return function(*args, **kwargs)
    _copy(_keyed.get()["request"]["messages"])
    attempt = wrapt.FunctionWrapper(kwargs["func"], _in_place(_attempt(noted)))
    token = _call.set(None)
    try:
        return function(*args, **{**kwargs, "func": attempt})
    finally:
        _call.reset(token)


def _attempt(noted: Noted) -> Callable[..., Any]:
    def attempt(function: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        start = time.perf_counter_ns()
        answer = function(*args, **kwargs)
        asked = _copy(kwargs["messages"])
        noted.append(("attempt", start, time.perf_counter_ns(), asked, answer.usage.model_dump()))
        return answer

    return attempt


_copy = TypeAdapter(Any).serializer.to_python
