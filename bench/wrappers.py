"""The least that can see what a cache did, with nobody to make sense of it.

Instructor calls no hook where it finds an answer. Whoever is to see its key, its lookup, its store and its
attempts wraps the functions that do these, tells by a context variable whose call they are of, and makes a
place in the trace for what runs within. Whoever is to tell why it missed, and what that cost, copies what is
sent and what is reported, before the program or Instructor change it. That is done here in the plainest way
there is: times and copies are made and given up, nothing is guarded, and nothing is kept.
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

Noted = list[tuple[str, int, int]]

_call: ContextVar[Noted | None] = ContextVar("bench_call", default=None)


def see_inside() -> None:
    """Have Instructor's functions seen, in all of this process."""
    for place, wrapper in (
        (instructor_api.KEY, _timed("key")),
        (instructor_api.LOAD, _tapped("lookup")),
        (instructor_api.STORE, _tapped("store")),
        (instructor_api.RETRY_SYNC, _retry),
    ):
        assert place is not None
        module, name = place
        setattr(module, name, wrapt.FunctionWrapper(getattr(module, name), wrapper))


def see_client(client: Any) -> Any:
    """Have the calls of a sync client seen."""
    client.create_fn = wrapt.FunctionWrapper(client.create_fn, _create)
    return client


def _create(function: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    token = _call.set([])
    try:
        return _in_place("create", function, args, kwargs)
    finally:
        _call.reset(token)


def _attempt(function: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    answer = _in_place("attempt", function, args, kwargs)
    _copy(kwargs["messages"])
    answer.usage.model_dump()
    return answer


_copy = TypeAdapter(Any).serializer.to_python


def _in_place(what: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """With a place in the trace of its own."""
    place = context_api.attach(set_span_in_context(INVALID_SPAN))
    start = time.perf_counter_ns()
    try:
        return function(*args, **kwargs)
    finally:
        _note(what, start)
        context_api.detach(place)


def _timed(what: str) -> Callable[..., Any]:
    def timed(function: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        start = time.perf_counter_ns()
        result = function(*args, **kwargs)
        _note(what, start)
        return result

    return timed


def _tapped(what: str) -> Callable[..., Any]:
    """What asks the cache is given one in its place that notes when it was asked."""
    timed = _timed(what)

    def tapped(function: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        return timed(function, instance, (_Tap(args[0]), *args[1:]), kwargs)

    return tapped


_get, _set = _timed("get"), _timed("set")


class _Tap(wrapt.BaseObjectProxy[Any]):
    def get(self, *args: Any, **kwargs: Any) -> Any:
        return _get(self.__wrapped__.get, None, args, kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return _set(self.__wrapped__.set, None, args, kwargs)


def _retry(function: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    attempt = wrapt.FunctionWrapper(kwargs["func"], _attempt)
    return function(*args, **{**kwargs, "func": attempt})


def _note(what: str, start: int) -> None:
    noted = _call.get()
    if noted is not None:
        noted.append((what, start, time.perf_counter_ns()))
