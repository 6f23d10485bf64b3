"""What the settings of a signal come to, and the variable that each comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from opentelemetry.sdk.resources import SERVICE_NAME, Resource

from llm_cache_otel.cli.doctor.finding import PREFIX
from llm_cache_otel.cli.doctor.otlp import Otlp
from llm_cache_otel.cli.doctor.proxies import proxy_for
from llm_cache_otel.cli.wording import listed
from llm_cache_otel.emit.environment.rules import masked, names_in
from llm_cache_otel.emit.pipeline.fallbacks import Signal
from llm_cache_otel.settings import Settings

DEFAULT = "default"
_INSTEAD = {
    "OTEL_SDK_DISABLED": "none, nothing is exported",
    "OTEL_CONFIG_FILE": "what the file says",
}
"""Of any exporter, by the variable that switches off all others."""


@dataclass(frozen=True)
class Setting:
    """`source` is the variable that it comes from, or `default`."""

    name: str
    value: str
    source: str = DEFAULT


def exporter_names(signal: Signal, environment: Mapping[str, str]) -> list[str]:
    names = names_in(environment.get(f"OTEL_{signal.upper()}_EXPORTER") or "otlp")
    return [name for name in names if name != "none"]


def settings_of(
    signal: Signal, built: Sequence[Otlp], environment: Mapping[str, str], off: str = ""
) -> list[Setting]:
    """`off` is the variable that switches off all others, if there is one."""
    if off:
        return [Setting("exporter", _INSTEAD[off], off)]
    names = ", ".join(exporter_names(signal, environment)) or "none"
    settings = [_setting("exporter", f"OTEL_{signal.upper()}_EXPORTER", names, environment)]
    for otlp in built:
        settings += _of_exporter(signal, otlp, environment)
    if built:
        settings += _of_signal(signal, environment)
    return settings


def service_name(resource: Resource, environment: Mapping[str, str]) -> Setting:
    value = str(resource.attributes.get(SERVICE_NAME, ""))
    if environment.get("OTEL_SERVICE_NAME"):
        return Setting(SERVICE_NAME, value, "OTEL_SERVICE_NAME")
    known = not value.startswith("unknown_service")
    return Setting(SERVICE_NAME, value, "OTEL_RESOURCE_ATTRIBUTES" if known else DEFAULT)


def own_settings(settings: Settings, environment: Mapping[str, str]) -> Iterator[Setting]:
    """Those of llm-cache-otel itself, from an `environment` without bad values."""
    salt = "LLM_CACHE_OTEL_DIGEST_SALT"
    for name, variable, value in (
        ("inference spans", "LLM_CACHE_OTEL_INFERENCE_SPANS", settings.inference_spans),
        ("exit timeout", "LLM_CACHE_OTEL_EXIT_TIMEOUT", f"{settings.exit_timeout:g} s"),
        ("price table", "LLM_CACHE_OTEL_PRICE_TABLE", settings.price_table),
        ("own prices", "LLM_CACHE_OTEL_PRICES", listed(sorted(settings.prices)) or "none"),
        ("model aliases", "LLM_CACHE_OTEL_MODEL_ALIASES", _pairs(settings.model_aliases) or "none"),
        (
            "prompt minimums",
            "LLM_CACHE_OTEL_PROMPT_MINIMUMS",
            _pairs(settings.prompt_minimums) or "the table's",
        ),
        (
            "prompt retentions",
            "LLM_CACHE_OTEL_PROMPT_RETENTIONS",
            _pairs(settings.prompt_retentions) or "the table's",
        ),
        (
            "function hit spans",
            "LLM_CACHE_OTEL_FUNCTION_HIT_SPANS",
            str(settings.function_hit_spans).lower(),
        ),
        ("digest salt", salt, "given" if environment.get(salt) else "random, of each process"),
    ):
        yield _setting(name, variable, value, environment)


def _pairs(names: Mapping[str, object]) -> str:
    return listed([f"{name} is {other}" for name, other in names.items()])


def _of_exporter(signal: Signal, otlp: Otlp, environment: Mapping[str, str]) -> Iterator[Setting]:
    def source(name: str) -> str:
        names = f"{PREFIX}{signal.upper()}_{name}", f"{PREFIX}{name}"
        return next((variable for variable in names if environment.get(variable)), DEFAULT)

    yield Setting("protocol", otlp.protocol, source("PROTOCOL"))
    yield Setting("endpoint", masked(otlp.url), source("ENDPOINT"))
    yield Setting("headers", ", ".join(otlp.header_names) or "none", source("HEADERS"))
    yield Setting("compression", otlp.compression, source("COMPRESSION"))
    yield Setting("timeout", f"{otlp.timeout:g} s", source("TIMEOUT"))
    if otlp.tls:
        for name, kind, default in (
            ("trusts", "CERTIFICATE", "the usual authorities"),
            ("client certificate", "CLIENT_CERTIFICATE", "none"),
        ):
            variable = source(kind)
            yield Setting(name, environment.get(variable, default), variable)
    proxy = proxy_for(otlp, environment)
    if proxy is None:
        yield Setting("proxy", "none")
    else:
        yield Setting("proxy", masked(proxy.url), proxy.variable)


def _of_signal(signal: Signal, environment: Mapping[str, str]) -> Iterator[Setting]:
    if signal == "traces":
        sampler = environment.get("OTEL_TRACES_SAMPLER") or "parentbased_always_on"
        if sampler.lower().endswith("traceidratio"):
            sampler += f" {environment.get('OTEL_TRACES_SAMPLER_ARG') or '1'}"
        yield _setting("sampler", "OTEL_TRACES_SAMPLER", sampler, environment)
    every, default = {
        "traces": ("OTEL_BSP_SCHEDULE_DELAY", "5000"),
        "metrics": ("OTEL_METRIC_EXPORT_INTERVAL", "60000"),
    }[signal]
    value = f"{float(environment.get(every) or default) / 1000:g} s"
    yield _setting("sent every", every, value, environment)
    if signal == "metrics":
        variable = f"{PREFIX}METRICS_TEMPORALITY_PREFERENCE"
        value = environment.get(variable) or "cumulative"
        yield _setting("temporality", variable, value, environment)


def _setting(name: str, variable: str, value: str, environment: Mapping[str, str]) -> Setting:
    return Setting(name, value, variable if environment.get(variable) else DEFAULT)
