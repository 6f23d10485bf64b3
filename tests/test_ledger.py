"""What we count is what the provider charges: of every SDK, to the token and the micro-dollar."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
from collections import Counter
from typing import Any

import instructor
import pytest
from instructor.cache import AutoCache
from support.models import DictCache, User
from support.recording import Recording
from support.sellers import MANUAL, SELLERS, Seller, ask, selling
from support.versions import (
    STORES_UNDER_ANOTHER_KEY,
    TOTALS_HAVE_WRITES,
    max_retries,
    namespace,
    since_modes_for_all,
)

from llm_cache_otel import Rates, Settings, instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider

SYNC_AND_ASYNC = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
A_MICRO_DOLLAR = 1e-6


@pytest.fixture
def bank() -> Any:
    """A simulated provider whose prompt cache nobody else has written to."""
    with SimulatedProvider() as provider:
        yield provider


class Counted:
    """Our own sums, over all attributes."""

    def __init__(self, recording: Recording) -> None:
        self.sums: Counter[str] = Counter()
        self.layers: Counter[str] = Counter()
        for metric, point in recording.raw_points():
            if hasattr(point, "value"):
                self.sums[metric.name] += point.value
                layer = (point.attributes or {}).get("llm_cache.layer")
                self.layers[f"{layer} {metric.name}"] += point.value

    def tokens(self, part: str) -> float:
        return self.sums[f"gen_ai.client.inference.usage.{part}"]


def agrees(counted: Counted, seller: Seller, provider: SimulatedProvider) -> None:
    charged = provider.ledger.tokens[seller.model]
    written = charged["write_5m"] + charged["write_1h"]
    reported_writes = counted.tokens("cache_write.input_tokens")
    assert counted.tokens("input_tokens") == sum(charged.values()) - charged["output"]
    assert counted.tokens("output_tokens") == charged["output"]
    assert counted.tokens("cache_read.input_tokens") == charged["read"]
    assert reported_writes == written
    spent, saved, premium = (
        counted.sums["llm_cache.spent.cost"],
        counted.layers["prompt llm_cache.saved.cost"],
        counted.sums["llm_cache.write_premium.cost"],
    )
    assert spent == pytest.approx(float(seller.cost(charged)), abs=A_MICRO_DOLLAR)
    uncached = float(seller.uncached(charged))
    assert spent + saved - premium == pytest.approx(uncached, abs=A_MICRO_DOLLAR)
    assert counted.sums["llm_cache.unpriced.requests"] == 0


@SYNC_AND_ASYNC
@pytest.mark.parametrize("name", SELLERS)
def test_what_is_counted_is_what_is_charged(
    name: str, asynchronous: bool, bank: SimulatedProvider, recording: Recording
) -> None:
    """Plain and streamed; two questions behind one manual, and one of them again."""
    seller = SELLERS[name]

    async def run() -> None:
        async with selling(seller, bank.url, asynchronous) as client:
            instrument(client, **recording.providers)
            for way in seller.ways if seller.streams else ("create",):
                for question in ("one?", "two?", "one?"):
                    await ask(client, seller, way, MANUAL, question)

    asyncio.run(run())
    charged = bank.ledger.tokens[seller.model]
    assert charged["read"] > 0, "the prompt cache was not tried at all"
    agrees(Counted(recording), seller, bank)


CALLS_OF_EACH = 500


@SYNC_AND_ASYNC
@pytest.mark.parametrize("name", SELLERS)
def test_a_thousand_mixed_calls_with_failures_and_retries(
    name: str, asynchronous: bool, bank: SimulatedProvider, recording: Recording
) -> None:
    """Hits, misses, streams, answers that are asked for again, and errors: 1,000 of each SDK."""
    seller, dice = SELLERS[name], random.Random(name)
    cache = DictCache()

    async def run() -> None:
        async with selling(seller, bank.url, asynchronous) as client:
            instrument(client, **recording.providers)
            for _ in range(CALLS_OF_EACH):
                manual = MANUAL if dice.random() < 0.7 else f"{dice.random()} {MANUAL}"
                cues = dice.choice([[], [], [], [Cue(answer={})], [Cue(status=500)]])
                bank.cues.clear()
                bank.cues.add(*cues)
                question = f"question {dice.randrange(30)}?"
                streamed = seller.streams and not cues and dice.random() < 0.3
                way = dice.choice([*seller.ways]) if streamed else "create"
                failing = contextlib.suppress(Exception) if cues else contextlib.nullcontext()
                more = {"cache": cache, "max_retries": 2}
                with failing:
                    await ask(client, seller, way, manual, question, **more)

    asyncio.run(run())
    counted = Counted(recording)
    agrees(counted, seller, bank)
    assert (counted.layers["response llm_cache.saved.cost"] > 0) == seller.is_cached
    assert any(bank.ledger.tokens[seller.model].values())


@SYNC_AND_ASYNC
@pytest.mark.parametrize("name", [name for name in SELLERS if SELLERS[name].is_cached])
@pytest.mark.parametrize(
    "retried",
    [False, *[True] * (not STORES_UNDER_ANOTHER_KEY)],
    ids=lambda retried: "asked again" if retried else "at once",
)
def test_a_hit_saves_what_the_stored_call_cost(
    retried: bool, name: str, asynchronous: bool, bank: SimulatedProvider, recording: Recording
) -> None:
    """Exactly in the process that stored it, and in another what the stored usage comes to."""
    seller, cache = SELLERS[name], AutoCache()

    async def ask_with(recording: Recording, question: str = "one?") -> Counted:
        async with selling(seller, bank.url, asynchronous) as client:
            instrument(client, **recording.providers)
            more = {"cache": cache, "max_retries": 2, **namespace("shared")}
            await ask(client, seller, "create", MANUAL, question, **more)
        return Counted(recording)

    asyncio.run(ask_with(Recording(), "what comes first?"))  # and what is read after it
    before = bank.ledger.tokens[seller.model].copy()
    bank.cues.add(*[Cue(answer={})] * retried)
    stored = asyncio.run(ask_with(recording))
    charged = bank.ledger.tokens[seller.model] - before
    assert charged["read"] > 0
    spent = stored.sums["llm_cache.spent.cost"]
    assert spent == pytest.approx(float(seller.cost(charged)), abs=A_MICRO_DOLLAR)

    hit = asyncio.run(ask_with(recording))
    assert hit.layers["response llm_cache.saved.cost"] == pytest.approx(spent, abs=1e-12)
    saved = charged["output"] + sum(charged.values()) - charged["output"]
    assert hit.layers["response llm_cache.saved.tokens"] == saved
    assert not hit.sums["llm_cache.spent.cost"]
    assert not hit.tokens("input_tokens")

    elsewhere = Recording()  # and a reporter that knows nothing of the call that stored it
    found = asyncio.run(ask_with(elsewhere))
    worth = found.layers["response llm_cache.saved.cost"]
    attributes = elsewhere.spans()[-1].attributes or {}
    is_least = attributes.get("llm_cache.saved.lower_bound", False)
    if is_least:
        assert 0 < worth <= spent + A_MICRO_DOLLAR
    else:
        assert worth == pytest.approx(spent, abs=A_MICRO_DOLLAR)
    if TOTALS_HAVE_WRITES or name in STORES_LESS:
        assert is_least == (name in STORES_LESS)
    if TOTALS_HAVE_WRITES and not retried:
        assert worth == pytest.approx(spent, abs=A_MICRO_DOLLAR)
    assert bank.ledger.tokens[seller.model] - before == charged
    elsewhere.tracer_provider.shutdown()
    elsewhere.meter_provider.shutdown()


STORES_LESS = {"openai responses", "genai", "genai, structured", "bedrock"}
"""Of which Instructor stores what the last attempt took."""


@pytest.mark.parametrize("asked_for", [False, True], ids=["not asked for", "asked for"])
def test_openai_reports_the_usage_of_a_stream_where_it_is_asked_to(
    asked_for: bool, bank: SimulatedProvider, recording: Recording
) -> None:
    seller = SELLERS["openai"]

    async def run() -> None:
        async with selling(seller, bank.url, False) as client:
            instrument(client, **recording.providers)
            request = seller.request(MANUAL, "one?")
            if asked_for:
                request["stream_options"] = {"include_usage": True}
            list(client.create_partial(model=seller.model, response_model=User, **request))

    asyncio.run(run())
    counted = Counted(recording)
    if asked_for:
        agrees(counted, seller, bank)
    else:
        assert (
            recording.spans(f"chat {seller.model}")[0].attributes.get("gen_ai.usage.input_tokens")
            is None
        )
        assert not counted.tokens("input_tokens")
        assert counted.sums["llm_cache.unpriced.requests"] == 1


@pytest.mark.parametrize("name", ["anthropic", "genai, structured"])
def test_what_a_broken_stream_reports_before_its_end_is_no_bill(
    name: str, bank: SimulatedProvider, recording: Recording
) -> None:
    seller = SELLERS[name]
    bank.cues.add(Cue(break_after=2))

    async def run() -> None:
        async with selling(seller, bank.url, False) as client:
            instrument(client, **recording.providers)
            with contextlib.suppress(Exception):  # google-genai takes it for the end
                once = max_retries(attempts=1)
                await ask(client, seller, "create_partial", MANUAL, "one?", max_retries=once)

    asyncio.run(run())
    counted = Counted(recording)
    assert not counted.tokens("input_tokens")
    assert not counted.sums["llm_cache.spent.cost"]
    assert counted.sums["llm_cache.unpriced.requests"] == 1


@since_modes_for_all
@pytest.mark.filterwarnings("ignore:Mode.ANTHROPIC_TOOLS is deprecated")
@SYNC_AND_ASYNC
def test_anthropic_as_it_is_patched_by_hand(
    asynchronous: bool, bank: SimulatedProvider, recording: Recording
) -> None:
    """As documented; Instructor raises of it since 1.15.3 unless the provider is named too."""
    seller = SELLERS["anthropic"]

    async def run() -> None:
        async with selling(seller, bank.url, asynchronous) as client:
            sdk = client.client
            mode = instructor.Mode.ANTHROPIC_TOOLS
            with pytest.raises(Exception, match="not registered"):  # with us or without
                instructor.patch(create=sdk.messages.create, mode=mode)
            create = instructor.patch(
                create=sdk.messages.create, mode=mode, provider=instructor.Provider.ANTHROPIC
            )
            kind = instructor.AsyncInstructor if asynchronous else instructor.Instructor
            by_hand = kind(client=sdk, create=create, mode=mode)
            instrument(by_hand, **recording.providers)
            for question in ("one?", "two?"):
                await ask(by_hand, seller, "create", MANUAL, question)

    asyncio.run(run())
    assert bank.ledger.tokens[seller.model]["read"] > 0
    agrees(Counted(recording), seller, bank)


def test_anthropic_marks_tools_system_and_the_whole_request(
    bank: SimulatedProvider, recording: Recording
) -> None:
    """Wherever `cache_control` stands, what it makes the provider read is read from its answer."""
    seller = SELLERS["anthropic"]
    marker = {"type": "ephemeral"}
    plain = {"messages": [{"role": "user", "content": "who?"}], "max_tokens": 100}
    long_tool = {"name": "law", "description": MANUAL, "input_schema": {"type": "object"}}
    ways: list[dict[str, Any]] = [
        {"tools": [{**long_tool, "cache_control": marker}]},
        {"system": [{"type": "text", "text": MANUAL, "cache_control": marker}]},
        {"system": MANUAL, "cache_control": marker},
    ]

    async def run() -> None:
        async with selling(seller, bank.url, False) as client:
            instrument(client, **recording.providers)
            for way in ways:
                for _ in range(2):
                    client.create(model=seller.model, response_model=None, **plain, **way)

    asyncio.run(run())
    attempts = recording.spans(f"chat {seller.model}")
    read = [each.attributes["gen_ai.usage.cache_read.input_tokens"] for each in attempts]
    assert [tokens > 1500 for tokens in read] == [False, True] * len(ways)
    agrees(Counted(recording), seller, bank)


ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/shop"


@pytest.mark.skipif("bedrock" not in SELLERS, reason="this Instructor asks Bedrock for no tools")
def test_bedrocks_own_name_for_the_model(bank: SimulatedProvider, recording: Recording) -> None:
    """On `create` and on metrics too, of a miss and of a hit; and an alias says what a profile costs."""
    seller = SELLERS["bedrock"]
    cache, settings = (
        DictCache(),
        Settings(model_aliases={ARN: "anthropic.claude-sonnet-4-5-20250929-v1:0"}),
    )

    async def run() -> None:
        async with selling(seller, bank.url, False) as client:
            instrument(client, settings=settings, **recording.providers)
            for _ in range(2):
                request = seller.request("Who?", "who?")
                client.create(modelId=ARN, response_model=User, cache=cache, **request)

    asyncio.run(run())
    miss, hit = recording.spans("create User")
    assert miss.attributes["gen_ai.request.model"] == hit.attributes["gen_ai.request.model"] == ARN
    assert miss.attributes["llm_cache.spent.cost"] == hit.attributes["llm_cache.saved.cost"] > 0
    (port,) = {span.attributes.get("server.port") for span in recording.spans(f"chat {ARN}")}
    assert bank.url.endswith(f":{port}")
    assert set(recording.sums("llm_cache.spent.cost", "gen_ai.request.model")) == {ARN}


@pytest.mark.parametrize("other", [{"id": "another"}, {"id": None}], ids=["another id", "none"])
def test_an_entry_that_another_process_replaced_saves_what_that_one_cost(
    other: dict[str, str | None], bank: SimulatedProvider, recording: Recording
) -> None:
    seller, cache = SELLERS["openai"], DictCache()

    async def ask_with(recording: Recording, question: str = "one?") -> Counted:
        async with selling(seller, bank.url, False) as client:
            instrument(client, **recording.providers)
            await ask(client, seller, "create", MANUAL, question, cache=cache, **namespace("all"))
        return Counted(recording)

    asyncio.run(ask_with(recording))
    cache.entries.clear()  # as if it had expired
    bank.cues.add(Cue(answer={"name": "Other", "age": 3}))
    elsewhere = asyncio.run(ask_with(Recording()))
    key, entry = cache.entries.popitem()
    raw = json.loads(json.loads(entry)["raw"]) | other
    cache.entries[key] = json.dumps({**json.loads(entry), "raw": json.dumps(raw)})
    hit = asyncio.run(ask_with(recording))
    worth = elsewhere.sums["llm_cache.spent.cost"]
    assert hit.layers["response llm_cache.saved.cost"] == pytest.approx(worth, abs=1e-12)
    assert not hit.sums["llm_cache.saved.duration"]


def test_deepseeks_way_to_say_what_it_read(bank: SimulatedProvider, recording: Recording) -> None:
    """Under names of its own, beside OpenAI's; own rates, for DeepSeek's go by the time of day."""
    seller = dataclasses.replace(SELLERS["openai"], model="deepseek-chat")
    own = Rates(*(seller.rates[kind] for kind in ("plain", "output", "read")))

    async def run() -> None:
        async with selling(seller, bank.url, False) as client:
            settings = Settings(prices={seller.model: own})
            instrument(client, settings=settings, **recording.providers)
            for question in ("one?", "two?"):
                await ask(client, seller, "create", MANUAL, question)

    asyncio.run(run())
    assert (
        bank.ledger.tokens[seller.model]["read"] % 64
        == 0
        < bank.ledger.tokens[seller.model]["read"]
    )
    agrees(Counted(recording), seller, bank)
