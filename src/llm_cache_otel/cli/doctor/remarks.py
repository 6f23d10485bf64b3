"""What there is to say about the settings, before anything is sent."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from importlib.metadata import entry_points

from opentelemetry.instrumentation.environment_variables import (
    OTEL_PYTHON_DISABLED_INSTRUMENTATIONS,
)

from llm_cache_otel.cli.doctor.finding import PREFIX, Attempt, Finding
from llm_cache_otel.emit.environment import Problem
from llm_cache_otel.emit.environment.otlp import endpoints
from llm_cache_otel.emit.log import logger
from llm_cache_otel.emit.pipeline.fallbacks import Signal
from llm_cache_otel.interpret import price_table
from llm_cache_otel.settings import Settings

_PREFIX = "LLM_CACHE_OTEL_"
_ENTRY_POINT = "llm_cache"
_OURS = {f"{_PREFIX}{name.upper()}" for name in Settings.__dataclass_fields__}


def switched_off(environment: Mapping[str, str], bad: AbstractSet[str]) -> list[Finding]:
    """Why nothing can be tested, if so."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return [
            Finding(
                "OTEL_SDK_DISABLED is true: nothing is sent at all.",
                "Unset OTEL_SDK_DISABLED if that is not what you want.",
                serious=False,
                variable="OTEL_SDK_DISABLED",
            )
        ]
    path = environment.get("OTEL_CONFIG_FILE")
    if path and "OTEL_CONFIG_FILE" not in bad:
        return [
            Finding(
                f"OTEL_CONFIG_FILE is {path}: what it says holds, and no other OTEL_* variable does.",
                "Unset OTEL_CONFIG_FILE to have the variables tested; the file's exporters are not.",
                variable="OTEL_CONFIG_FILE",
            )
        ]
    return []


def of_problems(problems: Iterable[Problem], *, failed: bool) -> Iterator[Finding]:
    """None but an exporter's is serious where everything is accepted all the same."""
    for problem in problems:
        variable = problem.variable
        is_exporter = variable in {"OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"}
        serious = failed or is_exporter
        yield Finding(problem.text, _correct(variable), serious=serious, variable=variable)


def of_endpoint(attempt: Attempt) -> Finding | None:
    """If nothing can be sent to what its variable says, whatever the answer is taken for."""
    variable = attempt.variable("ENDPOINT")
    level = variable.removeprefix(PREFIX).removesuffix("ENDPOINT")
    protocol = attempt.otlp.protocol.partition("/")[0]
    for problem in endpoints(attempt.environment, {level: {protocol}}):
        if "Nothing can be sent" in problem.text:
            return Finding(problem.text, _correct(variable))
    return None


def of_settings(name: str, environment: Mapping[str, str]) -> Iterator[Finding]:
    yield from _misspelled(environment)
    if name.startswith("unknown_service"):
        yield Finding(
            f"service.name is {name}: what you send is hard to find in any backend.",
            "Set OTEL_SERVICE_NAME=<what your program is called>.",
            serious=False,
        )
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").lower()
    if sampler.endswith("always_off"):
        yield Finding(
            f"OTEL_TRACES_SAMPLER is {sampler}: traces that begin in this program are not sent.",
            "Unset OTEL_TRACES_SAMPLER. (The doctor's own span is sent all the same.)",
            serious=False,
        )


def own_settings() -> tuple[Settings, list[Finding]]:
    """Those of llm-cache-otel itself, and what is wrong with the variables that they come from."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        settings = Settings()
    finally:
        logger.removeHandler(handler)
    return settings, [
        Finding(message, _correct(variable), serious=False, variable=variable)
        for message in messages
        for variable in message.split()[:1]
    ]


def of_aliases(settings: Settings) -> Iterator[Finding]:
    for name, model in settings.model_aliases.items():
        if model not in settings.prices and not price_table.is_known(model):
            variable = "LLM_CACHE_OTEL_MODEL_ALIASES"
            yield Finding(
                f"{variable} has {model} for {name}, of which no price is known.",
                _correct(variable),
                serious=False,
                variable=variable,
            )


def of_instrumentor(environment: Mapping[str, str]) -> Iterator[Finding]:
    variable = OTEL_PYTHON_DISABLED_INSTRUMENTATIONS
    disabled = {name.strip() for name in environment.get(variable, "").split(",")}
    for name in sorted(disabled & {_ENTRY_POINT, "*"}):
        yield Finding(
            f"{variable} has {name}: opentelemetry-instrument does not start llm-cache-otel.",
            f"Take {name} out of {variable}, or hand clients to llm_cache_otel.instrument().",
            serious=False,
            variable=variable,
        )


def not_built(signal: Signal, error: Exception) -> Finding:
    return Finding(
        f"The exporter of {signal} can't be built ({type(error).__name__}), and none are sent.",
        "Correct what is said of the variables.",
    )


def _correct(variable: str) -> str:
    return f"Correct {variable}, or unset it."


def _misspelled(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that nobody reads, and that are nearly the names of ones that somebody does."""
    known = _OURS | {
        value
        for entry_point in entry_points(group="opentelemetry_environment_variables")
        for value in vars(entry_point.load()).values()
        if isinstance(value, str) and value.startswith("OTEL_")
    }
    for name in sorted(environment.keys() - known):
        if name.upper().startswith(("OTEL_", _PREFIX)):
            likely = difflib.get_close_matches(name.upper(), known, 1, cutoff=0.9)
            if likely:
                yield Finding(
                    f"{name} is not a variable that anybody reads.",
                    f"Do you mean {likely[0]}?",
                    serious=False,
                )
