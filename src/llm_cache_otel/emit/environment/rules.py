"""What each standard `OTEL_*` variable that holds one plain value can be, by the SDK's own reading."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

EMPTY = "empty, which the SDK does not take for unset"

_ROOTS = "always_on", "always_off", "traceidratio"
_SAMPLERS = *_ROOTS, *(f"parentbased_{root}" for root in _ROOTS)
_MOST = 2**31 - 1  # far more than that overflows here and there
_MOST_SECONDS = 999  # more was meant as milliseconds, which is what other languages' SDKs read


@dataclass(frozen=True)
class Problem:
    """What is wrong with a variable's value, and what is used instead."""

    variable: str
    text: str


@dataclass(frozen=True)
class Rule:
    """`empty` says whether the SDK takes an empty value for none."""

    variable: str
    accepts: Callable[[str], bool]
    can_be: str
    instead: str
    empty: bool = True

    def broken_by(self, value: str | None) -> Problem | None:
        if value is None or (self.accepts(value) if value else self.empty):
            return None
        wrong = quoted(value) if value else EMPTY
        text = f"{self.variable} is {wrong}; it must be {self.can_be}. Using {self.instead}."
        return Problem(self.variable, text)


def quoted(value: str) -> str:
    """A value to show: not too long, and without a user, a password or a query in a URL."""
    shown = masked(value)
    return repr(shown if len(shown) <= 80 else f"{shown[:77]}...")


def masked(url: str) -> str:
    without_user = re.sub(r"^(\w[\w+.-]*://)?.*@", r"\1***@", url, flags=re.DOTALL)
    return re.sub(r"\?.*", "?***", without_user, flags=re.DOTALL)


def installed(group: str) -> set[str]:
    from importlib.metadata import entry_points  # dear, and mostly nobody asks

    return {entry_point.name for entry_point in entry_points(group=f"opentelemetry_{group}")}


def names_in(value: str) -> list[str]:
    return [name.strip().lower() for name in value.split(",") if name.strip()]


def is_whole(least: int) -> Callable[[str], bool]:
    def accepts(value: str) -> bool:
        try:
            return least <= int(value) <= _MOST
        except ValueError:
            return False

    return accepts


def _number(most: float) -> Callable[[str], bool]:
    def accepts(value: str) -> bool:
        try:
            return 0 < float(value) <= most
        except ValueError:
            return False

    return accepts


def is_ratio(value: str) -> bool:
    try:
        return 0 <= float(value) <= 1
    except ValueError:
        return False


def _boolean(value: str) -> bool:
    return value.strip().lower() in {"true", "false"}


def _sampler(value: str) -> bool:
    return value.lower() in _SAMPLERS or value.strip() in installed("traces_sampler")


def _status_codes(value: str) -> bool:
    from grpc import StatusCode

    return {code.strip().upper() for code in value.split(",")} <= {"", *StatusCode.__members__}


def plain_rules() -> Iterator[Rule]:
    """For all variables of the SDK that are read by themselves."""
    yield Rule("OTEL_SDK_DISABLED", _boolean, "true or false", "false")
    for name, least, default in (
        ("SCHEDULE_DELAY", 1, "5000 milliseconds"),
        ("EXPORT_TIMEOUT", 0, "30000 milliseconds"),
        ("MAX_QUEUE_SIZE", 1, "2048"),
        ("MAX_EXPORT_BATCH_SIZE", 1, "512"),
    ):
        can_be = f"a whole number from {least}"
        yield Rule(f"OTEL_BSP_{name}", is_whole(least), can_be, default, empty=False)
    for name, default in ("INTERVAL", "60000"), ("TIMEOUT", "30000"):
        can_be = "a positive number of milliseconds"
        accepts = _number(_MOST)
        yield Rule(f"OTEL_METRIC_EXPORT_{name}", accepts, can_be, default, empty=False)
    filters = "trace_based", "always_on", "always_off"
    yield _choice("OTEL_METRICS_EXEMPLAR_FILTER", filters, "trace_based")
    can_be = f"{', '.join(_SAMPLERS)}, or a sampler that is installed"
    yield Rule("OTEL_TRACES_SAMPLER", _sampler, can_be, "parentbased_always_on", empty=False)
    for name, default in (
        ("ATTRIBUTE_COUNT", "128"),
        ("SPAN_ATTRIBUTE_COUNT", "128"),
        ("EVENT_ATTRIBUTE_COUNT", "128"),
        ("LINK_ATTRIBUTE_COUNT", "128"),
        ("SPAN_EVENT_COUNT", "128"),
        ("SPAN_LINK_COUNT", "128"),
        ("ATTRIBUTE_VALUE_LENGTH", "no limit"),
        ("SPAN_ATTRIBUTE_VALUE_LENGTH", "no limit"),
    ):
        yield Rule(f"OTEL_{name}_LIMIT", is_whole(0), "a whole number from 0", default)
    internal = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
    yield Rule(internal, _boolean, "true or false", "false", empty=False)
    for name, default in ("ID_GENERATOR", "random"), ("METER_PROVIDER", "none"):
        yield _plugin(f"OTEL_PYTHON_{name}", name.lower(), default, empty=False)


def otlp_rules(signal: str, protocols: set[str]) -> Iterator[Rule]:
    """For OTLP variables with a signal's part in their names, or none, as the protocols read them."""
    if not protocols:
        return
    otlp, http = f"OTEL_EXPORTER_OTLP_{signal}", protocols == {"http"}
    can_be = "a number of seconds above 0 and below 1000"
    # Over gRPC an exporter reads its own signal's, whatever it is told instead.
    ends = signal and not http
    instead = f"nothing, so that {signal.lower()[:-1]} are not exported" if ends else "10"
    yield Rule(f"{otlp}TIMEOUT", _number(_MOST_SECONDS), can_be, instead, empty=http)
    compressions = ("gzip", "deflate", "none") if http else ("gzip",)
    anyhow: Callable[[str], str] = lambda value: value.lower().strip()
    yield _choice(f"{otlp}COMPRESSION", compressions, "no compression", anyhow=anyhow, empty=http)
    if not http:
        words, instead = ("true", "false"), "what the endpoint's scheme says"
        yield _choice(f"{otlp}INSECURE", words, instead, anyhow=str.lower)
    for protocol in sorted(protocols):
        name = f"OTEL_PYTHON_EXPORTER_OTLP_{protocol.upper()}_{signal}CREDENTIAL_PROVIDER"
        yield _plugin(name, "otlp_credential_provider", "none")
    if signal == "METRICS_":
        temporalities = "cumulative", "delta", "lowmemory"
        yield _choice(f"{otlp}TEMPORALITY_PREFERENCE", temporalities, "cumulative", anyhow=anyhow)
        aggregations = "explicit_bucket_histogram", "base2_exponential_bucket_histogram"
        variable = f"{otlp}DEFAULT_HISTOGRAM_AGGREGATION"
        yield _choice(variable, aggregations, aggregations[0], anyhow=anyhow if http else str)
    if signal == "" and "grpc" in protocols:
        variable = "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES"
        can_be = "names of gRPC status codes, for example UNAVAILABLE,ABORTED"
        yield Rule(variable, _status_codes, can_be, "OTLP's own", empty=False)


def _choice(
    variable: str,
    values: tuple[str, ...],
    instead: str,
    *,
    anyhow: Callable[[str], str] = str,
    empty: bool = False,
) -> Rule:
    """One of a few words; `anyhow` is what the SDK does to a value before it compares."""
    *most, last = values
    can_be = f"{', '.join(most)} or {last}" if most else last
    return Rule(variable, lambda value: anyhow(value) in values, can_be, instead, empty)


def _plugin(variable: str, group: str, instead: str, *, empty: bool = True) -> Rule:
    can_be = "the name of one that is installed"
    return Rule(variable, lambda value: value.strip() in installed(group), can_be, instead, empty)
