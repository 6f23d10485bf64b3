"""What is wrong with the standard `OTEL_*` variables, found before anything is built from them.

Wrong is what makes the SDK or an OTLP exporter raise, complain, or quietly do something else than was
meant. An empty value is as good as none, but where the SDK does not take it so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from llm_cache_otel.emit.environment import otlp
from llm_cache_otel.emit.environment.otlp import OTLP, Levels
from llm_cache_otel.emit.environment.rules import (
    Problem,
    installed,
    is_ratio,
    is_whole,
    names_in,
    otlp_rules,
    plain_rules,
    quoted,
)

__all__ = ["Problem", "problems"]

_PROTOCOLS = {"grpc": "grpc", "http/protobuf": "http"}
_EXPORTERS = {"otlp_proto_grpc": "grpc", "otlp_proto_http": "http"}


def problems(environment: Mapping[str, str]) -> list[Problem]:
    """Everything that is wrong. Quotes no header's value, and nothing that is secret in a URL."""
    levels = _levels(environment)
    return [
        *_config_file(environment),
        *_exporters(environment, levels),
        *otlp.endpoints(environment, levels),
        *otlp.insecure(environment, levels),
        *otlp.headers(environment, levels),
        *otlp.files(environment, levels),
        *otlp.client_certificates(environment, levels),
        *_plain(environment, levels),
        *_batch(environment),
        *_sampler_argument(environment),
        *_resource(environment),
    ]


def _levels(environment: Mapping[str, str]) -> Levels:
    levels = {signal: set(_protocols(environment, signal)) for signal in ("TRACES_", "METRICS_")}
    return {"": set().union(*levels.values()), **levels}


def _protocols(environment: Mapping[str, str], signal: str) -> Iterator[str]:
    variables = f"{OTLP}{signal}PROTOCOL", f"{OTLP}PROTOCOL"
    given = (environment.get(variable, "").strip() for variable in variables)
    chosen = _PROTOCOLS.get(next(filter(None, given), ""), "grpc")
    for name in names_in(environment.get(f"OTEL_{signal}EXPORTER") or "otlp"):
        if name == "otlp" or name in _EXPORTERS:
            yield _EXPORTERS.get(name, chosen)


def _config_file(environment: Mapping[str, str]) -> Iterator[Problem]:
    variable = "OTEL_CONFIG_FILE"
    path = environment.get(variable)
    if path and not Path(path).is_file():
        text = f"{variable} is {quoted(path)}, which is not a file. Using the other variables."
        yield Problem(variable, text)
    elif path and find_spec("opentelemetry.configuration") is None:
        yield Problem(
            variable,
            f"{variable} needs the package opentelemetry-configuration, which is not installed. Using "
            "the other variables.",
        )


def _exporters(environment: Mapping[str, str], levels: Levels) -> Iterator[Problem]:
    for signal in ("traces", "metrics"):
        variable = f"OTEL_{signal.upper()}_EXPORTER"
        unknown = set(names_in(environment.get(variable, ""))) - {"otlp", "none", *_EXPORTERS}
        for name in sorted(unknown and unknown - installed(f"{signal}_exporter")):
            yield Problem(
                variable,
                f"{variable} names {quoted(name)}, which is not installed; it must be otlp, console, "
                "none, or an exporter that is installed. It is left out.",
            )
    for signal, protocols in levels.items():
        protocol = environment.get(f"{OTLP}{signal}PROTOCOL", "").strip()
        if protocols and protocol and protocol not in _PROTOCOLS:
            variable = f"{OTLP}{signal}PROTOCOL"
            can_be = "it must be grpc or http/protobuf. Using grpc."
            yield Problem(variable, f"{variable} is {quoted(protocol)}; {can_be}")


def _plain(environment: Mapping[str, str], levels: Levels) -> Iterator[Problem]:
    for rule in (
        *plain_rules(),
        *(rule for level in levels.items() for rule in otlp_rules(*level)),
    ):
        problem = rule.broken_by(environment.get(rule.variable))
        if problem is not None:
            yield problem


def _batch(environment: Mapping[str, str]) -> Iterator[Problem]:
    variable = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
    batch, queue = environment.get(variable), environment.get("OTEL_BSP_MAX_QUEUE_SIZE") or "2048"
    accepted = is_whole(1)
    if batch and accepted(batch) and accepted(queue) and int(batch) > int(queue):
        yield Problem(
            variable,
            f"{variable} does not fit: a batch of {int(batch)} spans is larger than the queue of "
            f"{int(queue)} (OTEL_BSP_MAX_QUEUE_SIZE). Using {int(queue)}.",
        )


def _sampler_argument(environment: Mapping[str, str]) -> Iterator[Problem]:
    variable, value = "OTEL_TRACES_SAMPLER_ARG", environment.get("OTEL_TRACES_SAMPLER_ARG", "")
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if sampler.endswith("traceidratio") and not is_ratio(value):
        is_now = f"is {quoted(value)}" if value else "is not set"
        text = f"{variable} {is_now}; for {sampler} it must be a number from 0 to 1. Using 1."
        yield Problem(variable, text)
    elif value and not sampler:
        yield Problem(
            variable,
            f"{variable} says nothing without OTEL_TRACES_SAMPLER, which can be "
            "parentbased_traceidratio. Every trace is sampled.",
        )


def _resource(environment: Mapping[str, str]) -> Iterator[Problem]:
    variable = "OTEL_RESOURCE_ATTRIBUTES"
    value = environment.get(variable)
    pairs = value.split(",") if value else []
    for number, pair in enumerate(pairs, 1):
        if not pair.partition("=")[0].strip() or "=" not in pair:
            yield Problem(
                variable,
                f"{variable} can't be read at pair {number} of {len(pairs)}; it must be "
                "key=value,key=value, with a comma in a value as %2C. That pair is left out.",
            )
    variable = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"
    names = {name.strip() for name in environment.get(variable, "").split(",")} - {"", "*"}
    for name in sorted(names and names - installed("resource_detector")):
        yield Problem(
            variable,
            f"{variable} names {quoted(name)}, which is not installed; it must be process, os, host or a "
            "detector that is installed. It is left out.",
        )
