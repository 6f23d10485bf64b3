"""Who tells an inference: an instrumentation that is there already, or we do. Never both."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from opentelemetry import context as context_api
from opentelemetry.context import Context

from llm_cache_otel.emit import names
from llm_cache_otel.emit.current import current_context

_SUPPRESSING = context_api._SUPPRESS_INSTRUMENTATION_KEY
"""What `opentelemetry.instrumentation.utils.is_instrumentation_enabled` looks for, which takes longer."""


class InferenceSpans(StrEnum):
    """Whether inferences are told with a span of ours and GenAI metrics (`Settings.inference_spans`)."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def unless_suppressed() -> Context | None:
    """The current context; `None` if the application suppresses all instrumentation in it."""
    context = current_context()
    if context and (context.get(_SUPPRESSING) or context.get("suppress_instrumentation")):
        return None
    return context


def is_suppressed() -> bool:
    return unless_suppressed() is None


def is_told(tellers: Iterable[object], ours: object) -> bool:
    """Whether the inference is told by one of `tellers`, which are neighbours' tracers or instruments, where
    it would be by `ours`. `None` may be any.
    """
    return any(teller is None or end_of(teller) is end_of(ours) for teller in tellers)


def is_told_around(context: Context) -> bool:
    """Whether somebody outside of this context tells the inference, or says not to."""
    return (
        context.get(names.UTIL_GENAI_INFERENCE) is not None
        or context.get(names.SUPPRESS_LANGUAGE_MODEL) is True
    )


_DEEPEST = 8
_ENDS = ("span_processor", "_measurement_consumer")
_INNER = ("_tracer", "_real_instrument", "tracer", "_instrument")
"""What tracers and instruments keep: those of the SDK, and the stand-ins of the API and of Logfire."""


def end_of(teller: object) -> object:
    """What a tracer's or an instrument's provider gives everything to; of one that does not show it, as
    one that does nothing, the class."""
    for _ in range(_DEEPEST):
        for name in _ENDS:
            end = getattr(teller, name, None)
            if end is not None:
                return end
        kept = (getattr(teller, name, None) for name in _INNER)
        inner = next((each for each in kept if each is not None), None)
        if inner is None:
            break
        teller = inner
    return type(teller)
