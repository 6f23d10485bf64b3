"""Other instrumentations of the same inference, told from the functions that they put on the way to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from llm_cache_otel.facts import Neighbour
from llm_cache_otel.observe.sdk import declared

_DEEPEST = 16
_NEIGHBOURS: tuple[tuple[str, Neighbour], ...] = (
    # OpenLLMetry's, and OpenTelemetry's own
    ("opentelemetry.instrumentation.", Neighbour(spans=True, metrics=True)),
    ("openinference.instrumentation.", Neighbour(spans=True, metrics=False)),
    ("logfire.", Neighbour(spans=True, metrics=False)),
)
"""Where their functions come from, and which signals tell an inference there."""

_METHODS_OF_GOOGLE = (
    *(("models", name) for name in ("generate_content", "generate_content_stream")),
    *(("aio", "models", name) for name in ("generate_content", "generate_content_stream")),
)


def neighbour_of(client: Any, function: Callable[..., Any]) -> Neighbour | None:
    """Who else tells what `function` asks the provider through the SDK's `client`, if anybody does.

    Seen are wrappers around the SDK's method itself, around `request` of a client that Stainless
    generates (openai, anthropic, groq, …), and the Anthropic SDK's own spans.
    """
    for entry in (function, *_entries(client)):
        for module in _modules(entry):
            for prefix, neighbour in _NEIGHBOURS:
                if module.startswith(prefix):
                    return neighbour
    return _own_spans(client)


def _entries(client: Any) -> Iterator[Any]:
    """Methods of an SDK's client that a call goes through besides the one that Instructor was given."""
    if type(client).__module__.startswith("google.genai"):
        for path in _METHODS_OF_GOOGLE:
            entry = client
            for name in path:
                entry = getattr(entry, name, None)
            yield entry
    else:
        yield declared(client, "request")


def _modules(function: Any) -> Iterator[str]:
    """The modules of a function's wrappers, outermost first, and last its own.

    Not `__module__`: `functools.wraps` copies that from the function that is wrapped.
    """
    for _ in range(_DEEPEST):
        if function is None:
            return
        code = getattr(function, "_self_wrapper", function)  # wrapt
        namespace = getattr(code, "__globals__", None)
        module = type(code).__module__ if namespace is None else namespace.get("__name__")
        if isinstance(module, str):
            yield module
        function = getattr(function, "__wrapped__", None)


def _own_spans(client: Any) -> Neighbour | None:
    """Anthropic's SDK emits a span for every call (since 1.10), unless it is told not to."""
    options = getattr(client, "__dict__", {}).get("_open_telemetry")
    if not isinstance(options, dict) or not options.get("traces", {}).get("enabled"):
        return None
    return Neighbour(
        spans=True, metrics=False, has_own_provider=True, provider=options.get("tracer_provider")
    )
