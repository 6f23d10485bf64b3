"""What reads tokens and works out dollars fails inside live calls, of every SDK: nobody but us notices."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import instructor
import pytest
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion
from support.models import MESSAGES, DictCache, User
from support.recording import Recording
from support.sabotage import FUNCTIONS, Broken
from support.sellers import MANUAL, SELLERS
from support.versions import namespace

from llm_cache_otel import Rates, Settings, instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.interpret import price_table
from llm_cache_otel.later import later

SETTINGS = Settings(
    prices={"of-our-own": Rates(input=1, output=2)},
    model_aliases={"a-deployment": "openai/gpt-4.1-mini"},
)
NAMESPACE = namespace("money")
BEFORE_THE_CALL = (
    "interpret.bills.Bills.__init__",
    *("interpret.prices.Prices.__init__", "interpret.price_table._Table.__init__"),
    "interpret.price_table.import_beforehand",
    *("interpret.rates.Rates.__post_init__", "interpret.rates._rate"),
    "interpret.stored_calls.StoredCalls.__init__",
    *("facts.fact.fact", "facts.fact._repr"),
)
"""What runs when `instrument` or `Settings` is called, or is imported; or when somebody debugs."""
THE_DOCTORS = "interpret.price_table.is_known"
AROUND_FORKS = tuple(f"interpret.price_table._Table.{name}" for name in ("pause", "resume", "end"))

OF_FUNCTIONS = (
    *(f"interpret.bills.Bills.{name}" for name in ("with_origin", "of_origin")),
    *("interpret.bills.Bills._saved_by_function", "interpret.bills._prices_of", "facts.origin."),
    "emit.bill_metrics.BillMetrics.record_spared",
)
"""See test_function_safety.py."""

SABOTAGED = [
    name
    for name in FUNCTIONS
    if name.startswith(
        (
            *("interpret.usage.", "interpret.price", "interpret.rates.", "interpret.bills."),
            *("interpret.stored_calls.", "interpret.inference.", "observe.reported."),
            *("observe.noted_answer.", "emit.bill_", "facts."),
            *("reporter.Reporter._dropped_count", "observe.inference_response.reports_all"),
        )
    )
    and name != ("" if "bedrock" in SELLERS else "interpret.usage._converse")
    and not name.startswith(
        (
            *BEFORE_THE_CALL,
            *AROUND_FORKS,
            *OF_FUNCTIONS,
            *("facts.miss.", "facts.prompt.SentPrompt.length"),  # test_reason_safety.py
            THE_DOCTORS,
            "emit.bill_metrics.BillMetrics.__init__",
        )
    )
]


def impossible(**_: Any) -> ChatCompletion:
    message = {"role": "assistant", "content": '{"name": "Ada", "age": 36}'}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return ChatCompletion(
        id="odd",
        created=1,
        model="a-deployment",
        object="chat.completion",
        choices=[choice],  # type: ignore[list-item]
        usage=CompletionUsage(prompt_tokens=-1, completion_tokens=1, total_tokens=0),
    )


@pytest.fixture(scope="module")
def filled(simulated_provider: SimulatedProvider) -> dict[str, str]:
    """What another process has stored."""
    cache = DictCache()
    program(simulated_provider, cache, lambda *targets: None, last="another process asks this")
    return dict(cache.entries)


def program(
    provider: SimulatedProvider,
    cache: DictCache,
    observe: Callable[..., None],
    last: str = "asked twice",
) -> list[Any]:
    seen: list[Any] = []
    clients = {name: seller.make(provider.url, False) for name, seller in SELLERS.items()}
    odd = instructor.Instructor(
        None, create=instructor.patch(create=impossible, mode=instructor.Mode.JSON)
    )
    observe(*clients.values(), odd)
    for name, client in clients.items():
        seller = SELLERS[name]
        for more in ({"cache": cache, **NAMESPACE}, {}):
            request = {"model": seller.model, **seller.request(MANUAL, "who?")}
            seen.append(seller.ways["create"](client)(response_model=User, **request, **more))
        if seller.streams:
            seen.append(list(seller.ways["create_partial"](client)(response_model=User, **request)))
    for model in ("of-our-own", "a-deployment"):
        asked = {"model": model, "messages": [*MESSAGES], "response_model": User}
        seen.append(clients["openai"].create(**asked))
    seen.append(odd.create(**asked))
    asked["messages"] = [{"role": "user", "content": last}]
    provider.cues.add(Cue(answer={}))
    seen.append(clients["openai"].create(**asked, cache=cache, **NAMESPACE))
    latest = [*cache.entries][-1]
    cache.entries[latest] = json.dumps({**json.loads(cache.entries[latest]), "raw": None})
    seen.append(clients["azure"].create(**asked, cache=cache, **NAMESPACE))
    for _ in range(2):
        seen.append(clients["openai"].create(**asked, cache=cache, **NAMESPACE))
    for client in clients.values():
        getattr(client.client, "close", lambda: None)()
    return [
        [one.model_dump() for one in (each if isinstance(each, list) else [each])] for each in seen
    ]


@pytest.fixture
def may_fail_inside() -> bool:
    return True


@pytest.mark.parametrize("name", SABOTAGED)
def test_the_program_sees_what_it_saw_without_us(
    name: str,
    simulated_provider: SimulatedProvider,
    recording: Recording,
    filled: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.CRITICAL)
    cache = DictCache()
    cache.entries = dict(filled)
    without_us = program(simulated_provider, cache, lambda *targets: None)
    cache.entries = dict(filled)
    sabotage = Broken(FUNCTIONS[name])
    if name.endswith((".load", "._is_hit")):
        monkeypatch.setattr(price_table.table, "is_loaded", False)

    def observe(*targets: Any) -> None:
        for target in targets:
            instrument(target, settings=SETTINGS, **recording.providers)
        sabotage.start()

    try:
        seen = program(simulated_provider, cache, observe)
        assert later.wait(10)
    finally:
        sabotage.stop()
    assert seen == without_us
    assert sabotage.runs, "is it dead, or does the program above miss it?"
    assert recording.sums("llm_cache.instrumentation.errors", "llm_cache.instrumentation.where")


def test_what_can_not_be_is_counted_and_claims_nothing(recording: Recording) -> None:
    """Of a call that goes well otherwise."""
    create = instructor.patch(create=impossible, mode=instructor.Mode.JSON)
    client = instrument(instructor.Instructor(None, create=create), **recording.providers)
    user = client.create(model="a-deployment", messages=[*MESSAGES], response_model=User)
    assert user.model_dump() == {"name": "Ada", "age": 36}
    (attempt,) = recording.spans("chat a-deployment")
    assert "gen_ai.usage.input_tokens" not in attempt.attributes
    assert "llm_cache.spent.cost" not in attempt.attributes
    assert attempt.attributes["gen_ai.usage.output_tokens"] == 1
    values = {
        (metric.name, point.attributes.get("error.type")): point.value
        for metric, point in recording.raw_points()
        if hasattr(point, "value")
    }
    assert values["llm_cache.instrumentation.errors", "impossible prompt_tokens"] == 1
    assert values["llm_cache.unpriced.requests", None] == 1
    assert ("llm_cache.spent.cost", None) not in values
