"""The front door: what was handed in, who observes it, how it is undone."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from llm_cache_otel import forks
from llm_cache_otel._version import __version__
from llm_cache_otel.arguments import check_arguments, check_name, kind_of
from llm_cache_otel.emit.log import logger, warn_once
from llm_cache_otel.outside import is_the_hosts
from llm_cache_otel.settings import Settings

if TYPE_CHECKING:
    from llm_cache_otel.observe.doors import Door
    from llm_cache_otel.reporters import Reporters

T = TypeVar("T")

_lock = forks.lock()  # a finalizer may call uninstrument() while instrument() runs

_of_all: dict[str, Any] = {}
"""What `LLMCacheInstrumentor` was told, while it observes: it holds where `instrument` is told nothing."""

_ACCEPTED = (
    "an Instructor client (from instructor.from_provider, from_openai, …), a client of OpenAI's, Anthropic's "
    "or Google's SDK (OpenAI, AzureOpenAI, Anthropic, genai.Client, and their async kinds; changed by "
    "instructor.patch(client) or not), a function that functools.cache or a decorator over a store caches, "
    "or a store: a cache adapter derived from instructor.cache.BaseCache, diskcache.Cache, redis.Redis"
)


_NOTHING: Any = object()


@overload
def instrument(
    target: T,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    name: str | None = None,
    settings: Settings | None = None,
) -> T: ...


@overload
def instrument(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    name: str | None = None,
    settings: Settings | None = None,
) -> Callable[[T], T]: ...


def instrument(
    target: Any = _NOTHING,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    name: str | None = None,
    settings: Settings | None = None,
) -> Any:
    """Observe every call of a client or of a function that is cached, or every use of a store.

    Returns `target` itself, but of a function one that takes its place. Twice is the same as once;
    `uninstrument` undoes it. What the target returns, raises, caches and under which keys stays exactly as
    it was, but that a function behind `functools.cache` starts with an empty cache. Without a target it
    is a decorator: `@instrument(name="extraction")`.

    Args:
        target: an Instructor client, sync or async; a client of a provider's SDK (`OpenAI`, `AzureOpenAI`,
            `Anthropic`, their async kinds, `genai.Client`), for what the provider's prompt cache did, or one
            that `instructor.patch` has changed; a function behind `functools.cache` or
            `functools.lru_cache`, or behind a decorator that keeps answers in a store (`@instrument` stands
            above the other decorator); or a store, for its lookups, stores and durations: a cache adapter
            (`instructor.cache.BaseCache`), `diskcache.Cache` or `FanoutCache`, `redis.Redis`, sync or async.
        tracer_provider: where spans go. By default where `LLMCacheInstrumentor` was told, if it
            observes; else to the application's global provider, whenever it sets one; until then over
            OTLP, as the standard `OTEL_*` variables say.
        meter_provider: where metrics go, likewise, and each by itself.
        name: a label of your own for `llm_cache.name`, for example `"extraction"`.
        settings: `Settings`, by default read from the environment.

    Raises:
        TypeError: something else was handed in; the message says what is accepted.
        ValueError: `name` is empty.
    """
    check_arguments(tracer_provider, meter_provider, settings)
    check_name("instrument", name)
    if target is _NOTHING:
        return functools.partial(
            instrument,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            name=name,
            settings=settings,
        )
    with _lock:
        door = _door_for("instrument", target)
        obstacle = door.obstacle()
        if obstacle is not None:
            logger.warning("This can't be observed: %s.", obstacle)
        elif not door.is_open():
            return _open(
                door,
                target,
                tracer_provider or _of_all.get("tracer_provider"),
                meter_provider or _of_all.get("meter_provider"),
                name,
                settings or _of_all.get("settings"),
            )
        elif any(value is not None for value in (tracer_provider, meter_provider, name, settings)):
            logger.warning(
                "instrument() was called again on the same %s; what it was told the first time still "
                "holds. Call uninstrument() first to change it.",
                type(target).__name__,
            )
    return target


def observe_decorated(function: T, name: str | None) -> T:
    """What takes the place of a function that this package's decorator has made, observed."""
    from llm_cache_otel.observe.functions import FunctionDoor

    with _lock:
        try:
            reporter = _reporters().get(
                _of_all.get("tracer_provider"),
                _of_all.get("meter_provider"),
                _of_all.get("settings") or Settings(),
            )
            observed: T = FunctionDoor(function).open_decorated(reporter, name)
        except Exception as error:
            _warn_of_failure(error)
            return function
    return observed


def uninstrument(target: T) -> T:
    """Stop observing `target` and put everything back as it was. Returns `target` itself.

    The function that took another's place stays, with its cache, and calls pass through it.

    Does nothing if the target is not instrumented.

    Raises:
        TypeError: something was handed in that `instrument` does not accept.
    """
    with _lock:
        _door_for("uninstrument", target).close()
    return target


def instrument_all(
    tracer_provider: TracerProvider | None,
    meter_provider: MeterProvider | None,
    settings: Settings | None,
) -> None:
    """Observe every client that Instructor makes, and has made, but for those given to `instrument`."""
    from llm_cache_otel.observe.every_client import every_client

    with _lock:
        _warn_of_missing()
        _of_all.update(
            tracer_provider=tracer_provider, meter_provider=meter_provider, settings=settings
        )
        try:
            every_client.open(
                _reporters().get(tracer_provider, meter_provider, settings or Settings())
            )
        except Exception as error:
            _warn_of_failure(error)


def uninstrument_all() -> None:
    """Undo `instrument_all`."""
    from llm_cache_otel.observe.every_client import every_client

    with _lock:
        _of_all.clear()
        every_client.close()


def flush(timeout: float = 5.0) -> bool:
    """Send everything recorded so far, for instance before a function is frozen between calls.

    Waits at most `timeout` seconds; `False` if that was not enough, or if something could not be
    delivered. Of what goes through the application's own providers, the OpenTelemetry SDK says only that
    its exporters are done with it, and not whether a Collector took it.

    Raises:
        ValueError: `timeout` is not a positive number.
    """
    number: object = timeout
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not number > 0:
        raise ValueError("flush(timeout=...) must be a positive number of seconds, for example 5.0")
    # To import them might be to wait for whoever is about it; and there is nothing to send.
    made = getattr(sys.modules.get("llm_cache_otel.reporters"), "reporters", None)
    return made is None or made.flush(float(min(timeout, threading.TIMEOUT_MAX)))


def _door_for(function: str, target: object) -> Door:
    # Only now: importing Instructor is costly, and a process that never uses it need not pay.
    from llm_cache_otel.observe.doors import door_for, mend_for

    _warn_of_missing()
    door = door_for(target)
    if door is not None:
        return door
    mend = mend_for(target)
    mend = "" if mend is None else f" {mend}"
    raise TypeError(f"{function}() was given {kind_of(target)}; it accepts {_ACCEPTED}.{mend}")


def _open(
    door: Door,
    target: T,
    tracer_provider: TracerProvider | None,
    meter_provider: MeterProvider | None,
    name: str | None,
    settings: Settings | None,
) -> T:
    try:
        reporter = _reporters().get(tracer_provider, meter_provider, settings or Settings())
        opened: T = door.open(reporter, name)
    except Exception as error:
        _warn_of_failure(error)
        return target
    return opened


def _reporters() -> Reporters:
    from llm_cache_otel.reporters import reporters  # only now, as what observes

    return reporters


def _warn_of_failure(error: Exception) -> None:
    if is_the_hosts(error):
        raise error
    # A pipeline that can't be built, say for a certificate that is missing, is no reason for the
    # host not to start. The message may quote what the variables hold, headers among them.
    logger.warning(
        "instrument() failed (%s), and the program goes on unobserved. The logger's DEBUG level "
        "has the details.",
        type(error).__qualname__,
    )
    logger.debug("instrument() failed", exc_info=error)


def _warn_of_missing() -> None:
    from llm_cache_otel.observe import instructor_api

    if instructor_api.missing:
        warn_once(
            "instructor's insides",
            f"Instructor {instructor_api.version()} keeps some of its insides where llm-cache-otel "
            f"{__version__} does not find them. What can't be observed: "
            f"{', '.join(instructor_api.missing)}. Everything else is. A newer llm-cache-otel may know.",
        )
