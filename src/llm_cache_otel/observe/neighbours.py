"""Other instrumentations of the same inference, told from the functions that they put on the way to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial, reduce
from types import FunctionType, MethodType
from typing import Any

from llm_cache_otel.facts import Neighbour
from llm_cache_otel.observe.remembered import Remembered
from llm_cache_otel.observe.sdk import declared

_DEEPEST = 16
_NEIGHBOURS = (
    "opentelemetry.instrumentation.",  # OpenLLMetry's, and OpenTelemetry's own
    "openinference.instrumentation.",
    "logfire.",
)
"""Where the functions come from that they put around the SDKs'."""

_HANDLERS = (
    "handler",  # genai.anthropic; openai_v2, with the latest conventions
    "wrapper.handler",  # genai.openai
    "telemetry_handler",  # google_genai
)
_TRACERS = (
    "tracer",  # OpenLLMetry; openai_v2
    "_tracer",  # OpenInference
    *(f"{handler}._tracer" for handler in _HANDLERS),
    "logfire_llm._spans_tracer",
)
_DURATIONS = (
    "duration_histogram",
    "instruments.operation_duration_histogram",
    *(f"{handler}._instruments.operation_duration" for handler in _HANDLERS),
    # until opentelemetry-util-genai 1.1
    *(f"{handler}._metrics_recorder._duration_histogram" for handler in _HANDLERS),
)
_SWITCHES = (
    "_active",  # OpenInference
    "self._is_instrumented_by_opentelemetry",  # genai.openai
)
"""Where such a function keeps what it tells with, and whether it still does: in variables of its closure,
or in attributes."""

_METHODS = {
    "openai": ("responses.create",),
    "google": (
        *("models.generate_content", "models.generate_content_stream"),
        *("aio.models.generate_content", "aio.models.generate_content_stream"),
    ),
    "mistralai": (
        *("chat.complete", "chat.stream"),
        *("chat.complete_async", "chat.stream_async"),
    ),
}
"""By SDK, what Instructor calls through a function of its own, which it looks up at every call."""


def neighbours_of(client: Any, function: Callable[..., Any]) -> tuple[Neighbour, ...]:
    """Who else tells what `function` asks the provider through the SDK's `client`.

    Seen are wrappers around the SDK's method itself, around `request` of a client that Stainless
    generates (openai, anthropic, groq, …), and the Anthropic SDK's own spans.
    """
    found = []
    entries = [function, declared(client, "request")]
    if getattr(function, "__self__", None) is None:
        entries += _looked_up(client, function)
    # The functions that a call goes through, as far as anybody is known to wrap them.
    for entry in entries:
        # A wrapper of a method says that it has the method's own function.
        plain = entry.__func__ if type(entry) is MethodType else entry
        known = _is_nobodys.known.get(id(plain))
        if known is not None and known[0]() is plain:
            continue  # as most are
        if plain is not None and not _is_nobodys(plain):
            for wrapper in _layers(entry):
                if _is_neighbour(wrapper) and _kept(wrapper, _SWITCHES) is not False:
                    tracer, duration = _kept(wrapper, _TRACERS), _kept(wrapper, _DURATIONS)
                    found.append(Neighbour(tracer=tracer, duration=duration))
    own = _own_spans(client)
    return tuple(found) if own is None else (*found, own)


def _layers(function: Any) -> Iterator[Any]:
    """Its wrappers, outermost first, and last itself."""
    layer = function
    for _ in range(_DEEPEST):
        if layer is None:
            break
        yield getattr(layer, "_self_wrapper", layer)  # wrapt
        layer = getattr(layer, "__wrapped__", None)


def _is_neighbour(wrapper: Any) -> bool:
    # Not `__module__`: `functools.wraps` copies that from the function that is wrapped.
    space = getattr(wrapper, "__globals__", None)
    code = space.get("__name__") if isinstance(space, dict) else type(wrapper).__module__
    return str(code).startswith(_NEIGHBOURS)


# Functions of Python's own stay what they are. Whoever puts another around them, puts it in their place.
_is_nobodys = Remembered(
    lambda function: all(
        type(layer) is FunctionType and not _is_neighbour(layer) for layer in _layers(function)
    ),
    lasts=bool,
)


def _looked_up(client: Any, function: Any) -> list[Any]:
    methods = []
    for path in _METHODS.get(type(client).__module__.split(".")[0], ()):
        first = path.split(".")[0]
        unused = isinstance(getattr(type(client), first, None), cached_property)
        # A partial is Instructor's own, and uses it at once; else it would be made for us, at some cost.
        if not unused or first in vars(client) or isinstance(function, partial):
            methods.append(reduce(_held, path.split("."), client))
    return methods


def _kept(wrapper: Any, paths: tuple[str, ...]) -> Any | None:
    """What is at the first of these paths that leads to anything."""
    found = (reduce(_held, path.split("."), wrapper) for path in paths)
    return next((value for value in found if value is not None), None)


def _held(holder: Any, name: str) -> Any | None:
    variables = getattr(getattr(holder, "__code__", None), "co_freevars", ())
    if name in variables:
        return holder.__closure__[variables.index(name)].cell_contents
    return getattr(holder, name, None)


def _own_spans(client: Any) -> Neighbour | None:
    """Anthropic's SDK emits a span for every call (since 1.10), unless it is told not to."""
    options = getattr(client, "__dict__", {}).get("_open_telemetry")
    if not isinstance(options, dict) or not options.get("traces", {}).get("enabled"):
        return None
    return Neighbour(tracer=getattr(client, "_tracer", None), duration=None)
