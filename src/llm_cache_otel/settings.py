"""Settings: an argument before an environment variable before the default, read once."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llm_cache_otel.emit.company import InferenceSpans
from llm_cache_otel.emit.log import warn_once
from llm_cache_otel.interpret.rates import PriceTable, Rates

_PREFIX = "LLM_CACHE_OTEL_"
_MOST = 10**9
_T = TypeVar("_T")

_process_salt = secrets.token_hex(16)


def _checked_salt(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a non-empty string; leave it out for a random one per process")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be text that UTF-8 can hold") from None
    return value


def _checked_seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 <= seconds <= 3600:
        raise ValueError("must be a number of seconds from 0 to 3600, for example 2.0")
    return seconds


def _checked_inference_spans(value: Any) -> InferenceSpans:
    try:
        return InferenceSpans(str(value).strip().lower())
    except ValueError:
        raise ValueError("must be 'auto', 'always' or 'never'") from None


def _checked_switch(value: Any) -> bool:
    switches = {"true": True, "1": True, "false": False, "0": False}
    try:
        return switches[str(value).strip().lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def _checked_table(value: Any) -> PriceTable:
    try:
        return PriceTable(str(value).strip().lower())
    except ValueError:
        raise ValueError("must be 'bundled', 'updated' or 'off'") from None


def _checked_prices(value: Any) -> Mapping[str, Rates]:
    prices: dict[str, Rates] = {}
    for model, rates in _by_model(value, '{"my-model": {"input": 0.4, "output": 1.6}}').items():
        if isinstance(rates, Rates):
            prices[model] = rates
            continue
        if not isinstance(rates, Mapping):
            raise ValueError(  # noqa: TRY004  of an argument
                f"must say input and output of {model!r}, not {rates!r:.40}"
            )
        try:
            prices[model] = Rates(**rates)
        except TypeError:
            names = ", ".join(Rates.__dataclass_fields__)
            raise ValueError(
                f"must say input and output of {model!r}, and no more than {names}; "
                f"got {', '.join(name for name in rates if isinstance(name, str)) or 'nothing':.80}"
            ) from None
        except ValueError as error:
            raise ValueError(f"is wrong of {model!r}: {error}") from None
    return prices


def _checked_aliases(value: Any) -> Mapping[str, str]:
    aliases = _by_model(value, '{"my-deployment": "gpt-4.1-mini"}')
    for name, model in aliases.items():
        if not isinstance(model, str) or not model.strip(" /"):
            raise ValueError(f"must have a model's name for {name!r}, not {model!r:.40}")
    return dict(aliases)


def _checked_minimums(value: Any) -> Mapping[str, int]:
    minimums = _by_model(value, '{"my-model": 1024}')
    for name, tokens in minimums.items():
        if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= _MOST:
            raise ValueError(f"must have a number of tokens for {name!r}, not {_shown(tokens)}")
    return dict(minimums)


def _checked_retentions(value: Any) -> Mapping[str, float]:
    retentions = _by_model(value, '{"my-model": 300}')
    for name, seconds in retentions.items():
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not is_number or not 0 <= seconds <= _MOST:
            raise ValueError(f"must have a number of seconds for {name!r}, not {_shown(seconds)}")
    return dict(retentions)


def _shown(value: Any) -> str:
    """An int of thousands of digits can't be written."""
    return "so many" if isinstance(value, int) and abs(value) > _MOST else f"{value!r:.40}"


def _by_model(value: Any, example: str) -> Mapping[str, Any]:
    """A mapping, or the JSON of one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a JSON object, for example {example}")  # noqa: TRY004
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping, for example {example}")  # noqa: TRY004
    for name in value:
        if not isinstance(name, str) or not name:
            raise ValueError(f"must have models' names for keys, not {name!r:.40}")
    return value


@dataclass(frozen=True)
class Settings:
    """How llm-cache-otel behaves. Every setting is an argument, or an environment variable.

    Attributes:
        digest_salt: salts the digests of cache keys (`LLM_CACHE_OTEL_DIGEST_SALT`). Random per
            process by default, so that digests can't be compared between processes. With a common
            one, and a `cache_namespace`, equal keys have equal digests throughout a fleet.
        exit_timeout: seconds that a pipeline of our own may take at exit to send what is left
            (`LLM_CACHE_OTEL_EXIT_TIMEOUT`, default 2.0).
        inference_spans: who tells the call of the provider, with a span and GenAI metrics
            (`LLM_CACHE_OTEL_INFERENCE_SPANS`). `"auto"`, the default: we do, unless another
            instrumentation is found to do it. `"always"`: we do. `"never"`: we do not.
        prices: what models cost, by the name that is requested or answered, before any table:
            `{"my-model": Rates(input="0.40", output="1.60", cache_read="0.10")}`, in USD per million
            tokens (`LLM_CACHE_OTEL_PRICES`, in JSON: `{"my-model": {"input": 0.4, "output": 1.6}}`).
        model_aliases: for names of models, such as an Azure deployment's, the model to take the price of,
            whatever the table says of the name itself: `{"my-deployment": "gpt-4.1-mini"}`, or
            `"openai/gpt-4.1-mini"` where it is another provider's (`LLM_CACHE_OTEL_MODEL_ALIASES`, in JSON).
        price_table: `"bundled"`, the default: the prices that came with the package genai-prices, without
            any network. `"updated"`: from GitHub, every hour, by genai-prices' own thread. `"off"`: none
            but those in `prices`, and without these no dollars at all (`LLM_CACHE_OTEL_PRICE_TABLE`).
        prompt_minimums: from how many tokens on the provider caches prompts of a model, where the table in
            `llm_cache_otel.interpret.prompt_rules` does not have it, or not right: `{"my-model": 1024}`
            (`LLM_CACHE_OTEL_PROMPT_MINIMUMS`, in JSON).
        prompt_retentions: for how many seconds it keeps what nobody reads, unless a request asks for more,
            likewise: `{"my-model": 300}` (`LLM_CACHE_OTEL_PROMPT_RETENTIONS`, in JSON).

        function_hit_spans: whether each hit of a function behind `functools.cache` has a span of its own,
            which costs many times what the hit does (`LLM_CACHE_OTEL_FUNCTION_HIT_SPANS`, default false).
            They are counted either way.

    Raises:
        ValueError: an argument is out of range. A bad environment value warns and is ignored.
    """

    digest_salt: str = field(default="", repr=False)
    exit_timeout: float = -1.0
    inference_spans: str = ""
    prices: Mapping[str, Rates] = field(default_factory=dict, hash=False)
    model_aliases: Mapping[str, str] = field(default_factory=dict, hash=False)
    price_table: str = ""
    prompt_minimums: Mapping[str, int] = field(default_factory=dict, hash=False)
    prompt_retentions: Mapping[str, float] = field(default_factory=dict, hash=False)
    function_hit_spans: bool = False

    def __init__(
        self,
        *,
        digest_salt: str | None = None,
        exit_timeout: float | None = None,
        inference_spans: str | None = None,
        prices: Mapping[str, Rates] | None = None,
        model_aliases: Mapping[str, str] | None = None,
        price_table: str | None = None,
        prompt_minimums: Mapping[str, int] | None = None,
        prompt_retentions: Mapping[str, float] | None = None,
        function_hit_spans: bool | None = None,
    ) -> None:
        environment = os.environ
        self._set("digest_salt", digest_salt, _checked_salt, _process_salt, environment)
        self._set("exit_timeout", exit_timeout, _checked_seconds, 2.0, environment)
        self._set(
            "inference_spans",
            inference_spans,
            _checked_inference_spans,
            InferenceSpans.AUTO,
            environment,
        )
        self._set("prices", prices, _checked_prices, {}, environment)
        self._set("model_aliases", model_aliases, _checked_aliases, {}, environment)
        self._set("price_table", price_table, _checked_table, PriceTable.BUNDLED, environment)
        self._set("prompt_minimums", prompt_minimums, _checked_minimums, {}, environment)
        self._set("prompt_retentions", prompt_retentions, _checked_retentions, {}, environment)
        self._set("function_hit_spans", function_hit_spans, _checked_switch, False, environment)

    def _set(
        self,
        name: str,
        argument: _T | None,
        check: Callable[[Any], _T],
        default: _T,
        environment: Mapping[str, str],
    ) -> None:
        object.__setattr__(self, name, _resolve(name, argument, check, default, environment))


def _resolve(
    name: str,
    argument: _T | None,
    check: Callable[[Any], _T],
    default: _T,
    environment: Mapping[str, str],
) -> _T:
    if argument is not None:
        try:
            return check(argument)
        except ValueError as error:
            shown = argument if isinstance(argument, (int, float)) else type(argument).__name__
            if isinstance(argument, str) and name != "digest_salt":
                shown = repr(argument)
            got = "" if isinstance(argument, Mapping) else f"; got {shown}"
            raise ValueError(f"Settings({name}=...) {error}{got}") from None
    variable = _PREFIX + name.upper()
    value = environment.get(variable)
    if value:
        try:
            return check(value)
        except ValueError as error:
            is_shown = not isinstance(default, Mapping) and name != "digest_salt"
            got, instead = (f"; got {value!r:.40}", f", {default}") if is_shown else ("", "")
            warn_once((variable, value), f"{variable} {error}{got}. Using the default{instead}.")
    return default
