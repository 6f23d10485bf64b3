"""What the front doors may be given: an error names the argument, and the mend."""

from __future__ import annotations

from llm_cache_otel.settings import Settings


def check_arguments(tracer_provider: object, meter_provider: object, settings: object) -> None:
    """Raise `TypeError` for what is no provider and no `Settings`, naming the argument and the mend."""
    _check_provider(
        "tracer_provider", "opentelemetry.trace.TracerProvider", "get_tracer", tracer_provider
    )
    _check_provider(
        "meter_provider", "opentelemetry.metrics.MeterProvider", "get_meter", meter_provider
    )
    if settings is not None and not isinstance(settings, Settings):
        raise TypeError(
            f"instrument(settings=...) must be llm_cache_otel.Settings(...), not {kind_of(settings)}"
        )


def check_name(function: str, name: object) -> None:
    """Raise `TypeError` or `ValueError` for what is no label, that was given to `function`."""
    if name is not None and not isinstance(name, str):
        raise TypeError(f"{function}(name=...) must be a string, not {kind_of(name)}")
    if name is not None and not name.strip():
        raise ValueError(f"{function}(name=...) must not be empty; leave it out for no label")
    try:
        (name or "").encode()
    except UnicodeEncodeError:
        raise ValueError(f"{function}(name=...) must be text that UTF-8 can hold") from None


def _check_provider(argument: str, wanted: str, method: str, provider: object) -> None:
    if provider is None:
        return
    if isinstance(provider, type) or not callable(getattr(provider, method, None)):
        raise TypeError(
            f"instrument({argument}=...) must be an {wanted}, not {kind_of(provider)}; leave it out for "
            "the application's own provider"
        )


def kind_of(value: object) -> str:
    """As an error names it."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
