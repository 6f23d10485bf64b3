"""Who tells an inference: an instrumentation that is there already, or we do. Never both."""

from __future__ import annotations

from enum import StrEnum

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from llm_cache_otel.emit import names
from llm_cache_otel.facts import Neighbour


class InferenceSpans(StrEnum):
    """Whether inferences are told with a span of ours and GenAI metrics (`Settings.inference_spans`)."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def is_suppressed() -> bool:
    """Whether the application suppresses all instrumentation in this context."""
    return not is_instrumentation_enabled()


def is_told_around() -> bool:
    """Whether somebody outside of this context tells the inference, or says not to."""
    return (
        context_api.get_value(names.UTIL_GENAI_INFERENCE) is not None
        or context_api.get_value(names.SUPPRESS_LANGUAGE_MODEL) is True
    )


def spans_are_told(neighbour: Neighbour | None, provider: object, *, alone: bool) -> bool:
    """Whether a neighbour's span tells an inference where ours would go, which is `provider`.

    What goes through a pipeline of our own is `alone`: no neighbour knows of that.
    """
    if neighbour is None or not neighbour.spans or alone:
        return False
    if not neighbour.has_own_provider:
        return True
    return provider is (neighbour.provider or trace_api._TRACER_PROVIDER)
