"""Tokens and dollars: every provider's report to the micro-dollar, and what must hold of any."""

from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Context, Decimal, Inexact, localcontext
from enum import Enum
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
from google.genai.types import TrafficType
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from support.payloads import CREATED, PAYLOADS, Payload

from llm_cache_otel import Rates
from llm_cache_otel.emit.bill_metrics import BillMetrics
from llm_cache_otel.emit.tally import Labels, Tallies
from llm_cache_otel.facts import Bill, Cost, InferenceResponse, Unpriced, Usage
from llm_cache_otel.interpret.inference import Inference, inference_of
from llm_cache_otel.interpret.prices import Prices
from llm_cache_otel.interpret.rates import PriceTable
from llm_cache_otel.interpret.usage import usage_of
from llm_cache_otel.observe.inference_response import inference_response
from llm_cache_otel.observe.reported import reported_usage

TABLE = Prices({}, {}, PriceTable.BUNDLED)


def response_with(payload: Payload) -> InferenceResponse:
    holder = "usage_metadata" if payload.provider.startswith("gcp") else "usage"
    return inference_response(
        SimpleNamespace(
            model=payload.model,
            created=CREATED,
            service_tier=payload.tier,
            **{holder: payload.reported},
        )
    )


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_providers_report_comes_to_what_it_charges(name: str) -> None:
    payload = PAYLOADS[name]
    response = response_with(payload)
    reading = usage_of(response.reported)
    assert (reading.usage, reading.dropped) == (payload.usage, ())
    assert reading.usage is not None
    inference = inference_of(payload.provider, None, response, reading.usage, 0.0)
    cost = TABLE.cost_of(inference)
    assert isinstance(cost, Cost), cost
    assert (cost.spent, cost.saved, cost.premium) == payload.dollars, payload.worked


IMPOSSIBLE: dict[str, tuple[dict[str, Any], Usage | None, set[str]]] = {
    "more cached than there is": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 11},
        },
        Usage(input=10, output=1),
        {"cache_read"},
    ),
    "read and written are more than there is": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 6},
        },
        Usage(input=10, output=1),
        {"cache_read", "cache_write"},
    ),
    "more kept for an hour than written": (
        {
            "input_tokens": 10,
            "output_tokens": 1,
            "cache_creation_input_tokens": 5,
            "cache_creation": {"ephemeral_1h_input_tokens": 6},
        },
        Usage(input=15, output=1, cache_write=5),
        {"cache_write_1h"},
    ),
    "negative": (
        {"prompt_tokens": -10, "completion_tokens": 1},
        Usage(output=1),
        {"prompt_tokens"},
    ),
    "a string": (
        {"prompt_tokens": "10", "completion_tokens": 1},
        Usage(output=1),
        {"prompt_tokens"},
    ),
    "true": ({"prompt_tokens": True, "completion_tokens": 1}, Usage(output=1), {"prompt_tokens"}),
    "more than OTLP can add up": (
        {"prompt_tokens": 2**63, "completion_tokens": 1e30},
        None,
        {"prompt_tokens", "completion_tokens"},
    ),
    "half a token": ({"inputTokens": 1.5, "outputTokens": 1}, Usage(output=1), {"inputTokens"}),
    "not a number": (
        {"prompt_token_count": float("nan")},
        None,
        {"prompt_token_count"},
    ),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_can_not_be_is_dropped_and_named(name: str) -> None:
    reported, usage, dropped = IMPOSSIBLE[name]
    reading = usage_of(reported_usage({"usage": reported}))
    assert (reading.usage, set(reading.dropped)) == (usage, dropped)


class Endless(dict[str, int]):
    def items(self) -> Any:
        return ((str(number), number) for number in itertools.count())


def test_only_so_much_is_read_and_nothing_is_called() -> None:
    around: dict[str, Any] = {"prompt_tokens": 7}
    around["itself"] = [around] * 1000
    for usage in (Endless(), around, {"details": [Endless()] * 100}):
        reported = reported_usage({"usage": usage})
        assert reported is not None
        assert len(str(reported)) < 10_000
    answer = MagicMock()
    inference_response(answer)
    assert answer.mock_calls == []
    assert usage_of(inference_response(Mock()).reported).usage is None


def test_a_protobuf_message_is_read_as_xais_sdk_has_it() -> None:
    file = FileDescriptorProto(name="usage.proto", package="test")
    usage = file.message_type.add(name="SamplingUsage")
    for number, name in enumerate(
        ("prompt_tokens", "completion_tokens", "cached_prompt_text_tokens"), 1
    ):
        usage.field.add(name=name, number=number, type=FieldDescriptorProto.TYPE_INT32, label=1)
    pool = DescriptorPool()
    pool.Add(file)
    message = GetMessageClass(pool.FindMessageTypeByName("test.SamplingUsage"))
    response = SimpleNamespace(
        usage=message(prompt_tokens=37, completion_tokens=5, cached_prompt_text_tokens=8)
    )
    reading = usage_of(inference_response(response).reported)
    assert reading.usage == Usage(input=37, output=5, cache_read=8)


@pytest.mark.parametrize("reported", [None, {}, {"tokens": 7}, {"usage": {}}])
def test_what_is_not_reported_is_unknown(reported: Any) -> None:
    assert usage_of(reported).usage is None


NAMES = sorted(
    {
        name
        for payload in PAYLOADS.values()
        if isinstance(payload.reported, dict)
        for name in (*payload.reported, *payload.reported.get("prompt_tokens_details", ()))
        if isinstance(name, str)
    }
    | {"cache_creation", "input_tokens_details", "cacheDetails", "prompt_token_count"}
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner),
)


@given(ANYTHING | st.dictionaries(st.sampled_from(NAMES), ANYTHING))
def test_reading_anything_at_all_never_raises(anything: Any) -> None:
    for response in (anything, {"usage": anything}, SimpleNamespace(usage_metadata=anything)):
        reading = usage_of(inference_response(response).reported)
        if reading.usage is None:
            continue
        usage = reading.usage
        assert all(isinstance(count, int) and count >= 0 for count in usage.counts().values())
        cached = (usage.cache_read or 0) + (usage.cache_write or 0)
        assert cached == 0 or (usage.input or 0) >= cached
        assert (usage.cache_write or 0) >= (usage.cache_write_1h or 0)
        cost = TABLE.cost_of(Inference("anthropic", ("claude-sonnet-4-5",), usage, CREATED))
        assert isinstance(cost, (Cost, Unpriced))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    plain, read, write_5m, write_1h, output = (draw(st.integers(0, 10**9)) for _ in range(5))
    return Usage(
        input=plain + read + write_5m + write_1h,
        output=output,
        cache_read=read,
        cache_write=write_5m + write_1h,
        cache_write_1h=write_1h,
    )


RATE = st.decimals(0, 10_000, places=6)
RATES = st.builds(
    Rates,
    input=RATE,
    output=RATE,
    cache_read=st.none() | RATE,
    cache_write=st.none() | RATE,
    cache_write_1h=st.none() | RATE,
)


@given(usages(), RATES)
def test_spent_and_saved_without_the_premium_is_the_price_without_a_cache(
    usage: Usage, rates: Rates
) -> None:
    cost = Prices({"mine": rates}, {}, PriceTable.BUNDLED).cost_of(
        Inference(None, ("mine",), usage, CREATED)
    )
    assert isinstance(cost, Cost)
    assert usage.input is not None
    assert usage.output is not None
    without = Decimal(rates.input) * usage.input + Decimal(rates.output) * usage.output
    assert cost.spent + cost.saved - cost.premium == without / 1_000_000
    saved, premium = cost.apart()
    assert saved >= 0
    assert premium >= 0
    assert saved - premium == cost.saved - cost.premium


def counters(reader: InMemoryMetricReader) -> dict[tuple[Any, ...], float]:
    data = reader.get_metrics_data()
    return {
        (metric.name, *(point.attributes or {}).values()): point.value
        for resource in ([] if data is None else data.resource_metrics)
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint)
    }


@settings(max_examples=50)
@given(st.lists(st.tuples(usages(), RATES, st.booleans()), min_size=1, max_size=8))
def test_every_counter_only_grows(bought: list[tuple[Usage, Rates, bool]]) -> None:
    """However odd the rates; and what they come to in the end is the price without any cache."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    tallies = Tallies(provider.get_meter(__name__))
    metrics, before = BillMetrics(tallies), dict[tuple[Any, ...], float]()
    whose = Labels()
    without = 0.0
    for usage, rates, hit in bought:
        prices = Prices({"mine": rates}, {}, PriceTable.BUNDLED)
        cost = prices.cost_of(Inference(None, ("mine",), usage, CREATED))
        assert isinstance(cost, Cost)
        if hit:
            metrics.record_hit(Bill(usage, cost), whose)
        else:
            metrics.record_attempt(Bill(usage, cost), whose)
            without += float(cost.spent + cost.saved - cost.premium)
        tallies.pass_on()
        after = counters(reader)
        assert all(after[counter] >= value for counter, value in before.items())
        before = after
    provider.shutdown()
    spent = before.get(("llm_cache.spent.cost",), 0)
    saved = before.get(("llm_cache.saved.cost", "prompt"), 0)
    premium = before.get(("llm_cache.write_premium.cost",), 0)
    assert spent + saved - premium == pytest.approx(without, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", PAYLOADS)
def test_that_holds_of_every_row_too(name: str) -> None:
    payload = PAYLOADS[name]
    usage = payload.usage
    without = Usage(
        input=usage.input,
        output=usage.output,
        reasoning=usage.reasoning,
        input_audio=usage.input_audio,
    )
    response = response_with(payload)
    cost, plain = (
        TABLE.cost_of(inference_of(payload.provider, None, response, each, 0.0))
        for each in (usage, without)
    )
    assert isinstance(cost, Cost)
    assert isinstance(plain, Cost)
    assert cost.spent + cost.saved - cost.premium == plain.spent


def priced(prices: Prices, *models: str, provider: str | None = "openai") -> Cost | Unpriced:
    usage = Usage(input=100_000, output=0)
    return prices.cost_of(Inference(provider, models, usage, CREATED))


def test_own_rates_go_before_the_table_and_aliases_lead_to_either() -> None:
    own = {"mine": Rates(input="7", output=1), "gpt-4o": Rates(input=9, output=1)}
    aliases = {
        "deployment": "gpt-4.1-mini",
        "elsewhere": "anthropic/claude-sonnet-4-5",
        "to-mine": "mine",
        "gpt-4.1": "gpt-4.1-mini",
        "with/slash": "openai/gpt-oss-20b",
    }
    prices = Prices(own, aliases, PriceTable.BUNDLED)
    assert priced(prices, "mine") == Cost(Decimal("0.7"))
    assert priced(prices, "gpt-4o") == Cost(Decimal("0.9"))
    assert priced(prices, "to-mine", provider=None) == Cost(Decimal("0.7"))
    assert priced(prices, "deployment", provider="azure.ai.openai") == Cost(Decimal("0.04"))
    assert priced(prices, "elsewhere") == Cost(Decimal("0.3"))
    assert priced(prices, "gpt-4.1-2025-04-14", "gpt-4.1") == Cost(Decimal("0.04"))
    assert priced(prices, "with/slash", provider="groq") == Cost(Decimal("0.0075"))


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "a-private-model"),
        ("azure.ai.openai", "a-deployment"),
        ("nobody", "gpt-4o"),
        (None, "gpt-4o"),
    ],
)
def test_what_is_unknown_has_no_price(provider: str | None, model: str) -> None:
    assert priced(TABLE, model, provider=provider) is Unpriced.UNKNOWN_MODEL


class Tier(Enum):
    FLEX = "flex"


@pytest.mark.parametrize(
    ("provider", "model", "response", "rate"),
    [
        ("openai", "gpt-5.1", {"service_tier": "default"}, "1.25"),
        ("openai", "gpt-5.1", {"service_tier": "priority"}, "2.50"),
        ("openai", "gpt-5.1", {"service_tier": "scale"}, None),
        ("openai", "gpt-4o-mini-audio-preview", {"service_tier": "flex"}, None),
        ("azure.ai.openai", "gpt-4o", {"service_tier": "priority"}, None),
        ("anthropic", "claude-sonnet-4-5", {"usage": {"service_tier": "standard"}}, "3"),
        ("anthropic", "claude-sonnet-4-5", {"usage": {"service_tier": "batch"}}, "1.50"),
        ("anthropic", "claude-sonnet-4-5", {"usage": {"service_tier": "priority"}}, None),
        ("anthropic", "claude-sonnet-4-5", {"usage": {"speed": "fast"}}, None),
        ("aws.bedrock", "amazon.nova-pro-v1:0", {"serviceTier": {"type": "default"}}, "0.80"),
        ("aws.bedrock", "amazon.nova-pro-v1:0", {"serviceTier": {"type": "flex"}}, None),
        (
            "aws.bedrock",
            "amazon.nova-pro-v1:0",
            {"performanceConfig": {"latency": "optimized"}},
            None,
        ),
        (
            "gcp.vertex_ai",
            "gemini-2.5-flash",
            {"usage_metadata": {"traffic_type": TrafficType.ON_DEMAND}},
            "0.30",
        ),
        (
            "gcp.vertex_ai",
            "gemini-2.5-flash",
            {"usage_metadata": {"traffic_type": TrafficType.PROVISIONED_THROUGHPUT}},
            None,
        ),
        ("aws.bedrock", "amazon.nova-pro-v1:0", {"serviceTier": "flex"}, None),
        ("aws.bedrock", "amazon.nova-pro-v1:0", {"serviceTier": {"type": 5}}, None),
        ("openai", "gpt-5.1", {"service_tier": Tier.FLEX}, "0.625"),
        ("openai", "gpt-5.1", {"service_tier": ["flex"]}, None),
        ("anthropic", "claude-sonnet-4-5", {"usage": {"service_tier": "x" * 99}}, None),
        ("groq", "openai/gpt-oss-20b", {"service_tier": "flex"}, "0.075"),
        ("openai", "gpt-5.1", {"created_at": "0001-01-01T00:00:00"}, "1.25"),
        ("openai", "gpt-4.1", {"model": "a-router-chose-this"}, None),
        ("openai", "openai/gpt-4.1", {"model": "gpt-4.1-2025-04-14"}, "2"),
        ("anthropic", "claude-sonnet-4-5", {"model": "claude-sonnet-4-5-of-tomorrow"}, "3"),
    ],
)
def test_other_services_have_their_own_prices_or_none(
    provider: str, model: str, response: dict[str, Any], rate: str | None
) -> None:
    inference = inference_of(
        provider,
        model,
        replace(inference_response(response), created=CREATED),
        Usage(input=100_000, output=0),
        0.0,
    )
    cost = TABLE.cost_of(inference)
    if rate is None:
        assert cost is Unpriced.UNKNOWN_MODEL
    else:
        assert cost == Cost(Decimal(rate) / 10)


def test_the_hosts_own_decimals_change_nothing() -> None:
    usage = Usage(input=123_457, output=7, cache_read=111_111)
    inference = Inference("openai", ("gpt-4o",), usage, CREATED)
    exact = TABLE.cost_of(inference)
    assert isinstance(exact, Cost)
    with localcontext(Context(prec=2, traps=[Inexact])):
        fresh = Prices({}, {}, PriceTable.BUNDLED).cost_of(inference)
        assert isinstance(fresh, Cost)
        assert (fresh, (fresh + fresh).apart()) == (exact, (exact + exact).apart())


def test_half_a_usage_has_no_price() -> None:
    for usage in (Usage(input=1), Usage(output=1)):
        inference = Inference("openai", ("gpt-4o",), usage, CREATED)
        assert TABLE.cost_of(inference) is Unpriced.NO_USAGE
